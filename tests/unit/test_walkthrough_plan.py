"""Plans of walkthroughs: the same for the same seed, without gaps, fair to scenes and pictures, inside the pictures."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import UserError
from tools.data.manifest import ManifestError, PictureManifest
from tools.walkthrough.camera import draw_camera, window_at
from tools.walkthrough.dealing import Deck, deal_scenes, pictures_by_scene
from tools.walkthrough.planning import Wishes, plan
from tools.walkthrough.timing import TRANSITIONS, draw_changes, frame_times, split, time_base_of
from tools.walkthrough.truth import truth_of

RELAXED = settings(deadline=None, max_examples=50)  # a busy machine is no failure
RATES = [Fraction(25), Fraction(30_000, 1001), Fraction(1), Fraction(2997, 100), Fraction(240)]
PICTURES = {scene: [f"{scene}/{i}.jpg" for i in range(30)] for scene in ("coast", "kitchen", "office", "street")}

wishes = st.builds(
    Wishes,
    segments=st.integers(1, 6),
    segment_seconds=st.fractions(1, 8, max_denominator=50),
    fps=st.sampled_from(RATES[:3]),
    variable_rate=st.booleans(),
    transitions=st.lists(st.sampled_from(TRANSITIONS), min_size=1, unique=True).map(tuple),
    seed=st.integers(0, 2**31),
)


def test_the_same_seed_gives_the_same_plan_and_another_one_another():
    assert plan(PICTURES, Wishes(seed=3)) == plan(PICTURES, Wishes(seed=3))
    assert plan(PICTURES, Wishes(seed=3)) != plan(PICTURES, Wishes(seed=4))


def test_by_default_each_scene_comes_once_for_twenty_seconds():
    walkthrough = plan(PICTURES, Wishes())
    assert sorted(segment.scene for segment in walkthrough.segments) == sorted(PICTURES)
    assert {segment.end - segment.start for segment in walkthrough.segments} == {Fraction(20)}
    assert all(4 <= len(segment.shots) <= 6 for segment in walkthrough.segments)


@RELAXED
@given(wishes)
def test_shots_and_transitions_cover_the_time_without_gaps(some: Wishes):
    walkthrough = plan(PICTURES, some)
    shots, transitions, base = walkthrough.shots, walkthrough.transitions, walkthrough.time_base
    end = walkthrough.segments[-1].end
    assert len(transitions) == len(shots) - 1
    assert (shots[0].appears, shots[0].start, shots[-1].end, shots[-1].gone) == (0, 0, end, end)
    for shot in shots:
        assert shot.appears <= shot.start < shot.end <= shot.gone
    for before, change, after in zip(shots, transitions, shots[1:], strict=False):
        assert before.end == change.start == after.appears
        assert before.gone == change.end == after.start
        assert (change.kind == "cut") == (change.start == change.end)
    for before, after in itertools.pairwise(walkthrough.segments):
        (change,) = [t for t in transitions if t.midpoint == before.end and t.from_scene != t.to_scene]
        assert before.end == after.start
        assert (change.from_scene, change.to_scene) == (before.scene, after.scene)
    times = [t for shot in shots for t in (shot.start, shot.end)] + [t.midpoint for t in transitions]
    assert all((time / base).denominator == 1 for time in times)


@RELAXED
@given(wishes)
def test_frames_have_their_times_in_the_video(some: Wishes):
    walkthrough = plan(PICTURES, some)
    steps = {b - a for a, b in itertools.pairwise(walkthrough.pts)}
    nominal = 1 / (some.fps * walkthrough.time_base)
    assert walkthrough.pts[0] == 0
    assert walkthrough.pts[-1] * walkthrough.time_base < walkthrough.segments[-1].end
    assert min(steps, default=1) > 0
    assert walkthrough.fps == (None if some.variable_rate else some.fps)
    if not some.variable_rate:
        assert steps <= {nominal}
    else:
        assert all(0.6 * nominal - 1 <= step <= 4.4 * nominal + 1 for step in steps)
        assert len(walkthrough.pts) < 50 or len(steps) > 10


@RELAXED
@given(wishes)
def test_only_the_allowed_transitions_in_their_lengths(some: Wishes):
    walkthrough = plan(PICTURES, some)
    assert {t.kind for t in walkthrough.transitions} <= set(some.transitions)
    longest = {"cut": 0, "dissolve": 1, "slow": 4}
    assert all(t.end - t.start <= longest[t.kind] for t in walkthrough.transitions)


def test_transitions_of_long_segments_have_their_full_lengths():
    walkthrough = plan(PICTURES, Wishes(segments=20, segment_seconds=Fraction(60)))
    by_kind = {kind: [t.end - t.start for t in walkthrough.transitions if t.kind == kind] for kind in TRANSITIONS}
    assert all(Fraction(49, 100) <= length <= 1 for length in by_kind["dissolve"])
    assert all(Fraction(199, 100) <= length <= 4 for length in by_kind["slow"])


def test_no_picture_comes_twice_as_long_as_there_are_enough():
    walkthrough = plan(PICTURES, Wishes(segments=16))
    assert walkthrough.repeats == 0
    assert all(shot.picture.startswith(shot.scene) for shot in walkthrough.shots)
    assert plan({scene: paths[:4] for scene, paths in PICTURES.items()}, Wishes(segments=8)).repeats == 16


@RELAXED
@given(st.integers(1, 5), st.integers(1, 40), st.integers())
def test_scenes_are_dealt_evenly_and_never_twice_in_a_row(scenes: int, count: int, seed: int):
    dealt = deal_scenes([str(i) for i in range(scenes)], count, Random(seed))
    counts = Counter(dealt)
    assert len(dealt) == count
    assert max(counts.values()) - (min(counts.values()) if len(counts) == scenes else 0) <= 1
    assert scenes == 1 or all(a != b for a, b in itertools.pairwise(dealt))


@RELAXED
@given(st.integers(1, 8), st.lists(st.integers(1, 8), max_size=12), st.integers())
def test_a_hand_has_no_picture_twice_and_the_deck_none_before_all_came(size: int, hands: list[int], seed: int):
    deck, drawn = Deck([str(i) for i in range(size)], Random(seed)), []
    for count in hands:
        hand = deck.draw(min(count, size))
        assert len(set(hand)) == len(hand)
        drawn += hand
    assert len(set(drawn[:size])) == min(size, len(drawn))


@RELAXED
@given(
    seed=st.integers(),
    seconds=st.floats(0.05, 30),
    progress=st.floats(0, 1),
    picture=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    aspect=st.floats(0.2, 5),
)
def test_windows_stay_inside_the_pictures(seed, seconds, progress, picture, aspect):
    window = window_at(draw_camera(Random(seed), seconds), progress, progress * seconds, picture, aspect)
    for x, y in window.corners():
        assert -1e-6 <= x <= picture[0] + 1e-6
        assert -1e-6 <= y <= picture[1] + 1e-6
    assert window.width / window.height == pytest.approx(aspect)
    # At the widest it touches nearly two opposite edges: pictures are filled, not looked at through a keyhole.
    assert max(window.width / picture[0], window.height / picture[1]) > 0.6


def test_shake_is_smooth_and_stays_in_its_band():
    sway = draw_camera(Random(1), 4.0).sway_x
    values = [sway.at(i / 250) for i in range(5000)]
    assert all(-1 <= value <= 1 for value in values)
    # The fastest wave has 7 Hz: no step of 4 ms can be larger than its slope allows, were all the shake in it.
    assert max(abs(b - a) for a, b in itertools.pairwise(values)) < 2 * 3.1416 * 7 / 250
    assert max(values) > 0.2 > -0.2 > min(values)


@RELAXED
@given(st.integers(20, 10**6), st.integers(1, 12), st.integers())
def test_parts_are_whole(ticks: int, count: int, seed: int):
    parts = split(ticks, count, Random(seed))
    assert (len(parts), sum(parts)) == (count, ticks)
    assert min(parts) > 0


@RELAXED
@given(st.lists(st.sampled_from(TRANSITIONS), min_size=1), st.integers(0, 12), st.integers(0, 10**6), st.integers())
def test_transitions_are_even_and_fit(kinds, count: int, most: int, seed: int):
    changes = draw_changes(kinds, count, most, Fraction(1, 10_000), Random(seed))
    assert len(changes) == count
    assert sum(change.ticks for change in changes) <= most
    assert all(change.ticks % 2 == 0 for change in changes)


@pytest.mark.parametrize("fps", RATES)
def test_intervals_are_whole_ticks(fps: Fraction):
    base = time_base_of(fps)
    assert (1 / (fps * base)).denominator == 1
    assert 10_000 <= 1 / base <= 1_000_000
    assert frame_times(fps, base, 10**5, variable=False, random=Random(0))[1] * base == 1 / fps


# ------------------------------------------------------------------ mistakes


def manifest(tmp_path: Path, **counts: int) -> PictureManifest:
    file = tmp_path / "table.csv"
    lines = [f"{scene}/{i}.png,{scene}" for scene, count in counts.items() for i in range(count)]
    file.write_text("\n".join(["path,scene", *lines]) + "\n")
    return PictureManifest.read(file)


def test_pictures_by_scene(tmp_path):
    table = manifest(tmp_path, street=5, coast=4, office=6)
    assert {scene: len(paths) for scene, paths in pictures_by_scene(table).items()} == {
        "coast": 4,
        "office": 6,
        "street": 5,
    }
    assert list(pictures_by_scene(table, ["street", "coast"])) == ["street", "coast"]


def test_no_such_scene(tmp_path):
    with pytest.raises(ManifestError, match=r"table\.csv has no scene 'moon'; it has coast, street"):
        pictures_by_scene(manifest(tmp_path, street=5, coast=4), ["street", "moon"])


def test_too_few_pictures(tmp_path):
    table = manifest(tmp_path, street=5, coast=3)
    with pytest.raises(ManifestError, match="too few pictures of 'coast': 3"):
        pictures_by_scene(table)
    assert list(pictures_by_scene(table, ["street"])) == ["street"]


def test_one_scene_makes_one_segment_only():
    one = {"coast": PICTURES["coast"]}
    assert len(plan(one, Wishes()).segments) == 1
    with pytest.raises(UserError, match="two scenes or more"):
        plan(one, Wishes(segments=2))


@RELAXED
@given(wishes)
def test_the_truth_of_any_plan_fits_together(some: Wishes):
    walkthrough = plan(PICTURES, some)
    truth = truth_of(walkthrough)
    assert truth.frames == len(walkthrough.pts)
    assert truth.end_pts == walkthrough.segments[-1].end / walkthrough.time_base
    for shot in truth.shots:
        assert truth.shot_at(shot.start_pts) is truth.shot_at(shot.end_pts - 1) is shot
        assert truth.scene_at(shot.start_pts) == shot.scene
    for change in truth.transitions:
        middle = truth.segment_at(change.midpoint_pts)
        assert middle is not None
        assert middle.scene == change.to_scene
        if change.start_pts < change.end_pts:
            assert truth.transition_at(change.midpoint_pts) is change
            assert truth.shot_at(change.start_pts) is truth.shot_at(change.end_pts - 1) is None
            assert truth.scene_at(change.midpoint_pts) == (None if change.changes_scene else change.to_scene)
