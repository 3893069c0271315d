"""Measures on walkthroughs against values worked out by hand, and against what must hold for any labels."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from truth_parts import span, transition

from models.prediction import Prediction
from tools.walkthrough.measures import Tally, differs_from_before, pairs_of, tally_scenes, total
from tools.walkthrough.predicting import called_unknown
from tools.walkthrough.truth import SegmentTruth, ShotTruth, Truth

RELAXED = settings(deadline=None, max_examples=50)  # a busy machine is no failure
NAMES = ("coast", "kitchen")
COAST, KITCHEN = 0, 1


# Ten ticks a second. Two pictures of a coast with a dissolve of 10 ticks between them, a dissolve of 20 to a kitchen,
# in which two pictures meet in a cut.
TRUTH = Truth(
    version=1,
    seed=0,
    fps=(2, 1),
    size=(64, 48),
    time_base=(1, 10),
    frames=20,
    segments=(SegmentTruth(scene="coast", **span(0, 50)), SegmentTruth(scene="kitchen", **span(50, 100))),
    shots=(
        ShotTruth(picture="a", scene="coast", **span(0, 20)),
        ShotTruth(picture="b", scene="coast", **span(30, 40)),
        ShotTruth(picture="c", scene="kitchen", **span(60, 80)),
        ShotTruth(picture="d", scene="kitchen", **span(80, 100)),
    ),
    transitions=(
        transition("dissolve", 20, 30, "coast", "coast"),
        transition("dissolve", 40, 60, "coast", "kitchen"),
        transition("cut", 80, 80, "kitchen", "kitchen"),
    ),
)
PTS = np.arange(0, 100, 5)


def labels(text: str) -> np.ndarray:
    return np.array(["ck".index(letter) for letter in text.replace(" ", "")])


def none_unknown() -> np.ndarray:
    return np.zeros(len(PTS), bool)


def tally(text: str, unknown: np.ndarray | None = None) -> dict[str, Tally]:
    return tally_scenes(PTS, labels(text), none_unknown() if unknown is None else unknown, NAMES, TRUTH)


def test_truth_by_hand():
    assert [TRUTH.scene_at(t) for t in (-1, 0, 25, 39, 40, 50, 59, 60, 99, 100)] == [
        *(None, "coast", "coast", "coast", None, None, None, "kitchen", "kitchen", None)
    ]
    shots = [TRUTH.shot_at(t) for t in (0, 19, 20, 29, 30, 40, 60, 79, 80, 99)]
    assert [shot and shot.picture for shot in shots] == ["a", "a", None, None, "b", None, "c", "c", "d", "d"]
    assert [TRUTH.segment_at(t).scene for t in (45, 49, 50, 55)] == ["coast", "coast", "kitchen", "kitchen"]


def test_pairs_are_frames_of_the_same_picture():
    # 0 5 10 15 | 20 25 | 30 35 | 40 45 50 55 | 60 65 70 75 | 80 85 90 95
    wanted = [0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1]
    assert pairs_of(PTS, TRUTH).astype(int).tolist() == wanted


def test_all_right_and_steady():
    found = tally("cccc cc cc cckk kkkk kkkk")
    assert (found["coast"].frames, found["kitchen"].frames) == (8, 8)
    assert (found["coast"].seconds, found["kitchen"].seconds) == (4.0, 4.0)
    figures = total(found.values()).figures()
    assert (figures["accuracy"], figures["flips"], figures["flips_per_minute"], figures["unknown"]) == (1, 0, 0, 0)


def test_what_happens_in_a_transition_between_scenes_does_not_count():
    assert tally("cccc cc cc kckc kkkk kkkk") == tally("cccc cc cc cckk kkkk kkkk")


def test_flips_by_hand():
    # Coast: three flips in the first picture, one mistake in the dissolve (no flip), none in the second picture.
    coast = tally("ckck kc cc cckk kkkk kkkk")["coast"]
    assert (coast.pairs, coast.flips) == (4, 3)
    figures = coast.figures()
    assert figures["accuracy"] == pytest.approx(5 / 8)
    assert figures["flips"] == pytest.approx(3 / 4)
    assert figures["flips_per_minute"] == pytest.approx(3 / (4 * 0.5) * 60)


def test_a_change_of_mind_at_a_cut_is_no_flip():
    kitchen = tally("cccc cc cc cckk kkkk cccc")["kitchen"]
    assert kitchen.flips == 0
    assert kitchen.figures()["accuracy"] == 0.5


def test_unknown_by_hand():
    unknown = none_unknown()
    unknown[[1, 4, 9, 16, 17]] = True  # two of the coast, one between the scenes, two of the kitchen
    found = tally("cccc cc cc cckk kkkk kkkk", unknown)
    coast, kitchen = found["coast"].figures(), found["kitchen"].figures()
    assert (coast["unknown"], kitchen["unknown"]) == (0.25, 0.25)
    assert coast["unknown_flips"] == 2 / 4
    assert kitchen["unknown_flips"] == pytest.approx(1 / 6, abs=1e-6)
    assert kitchen["unknown_flips_per_minute"] == pytest.approx(1 / 3 * 60)
    assert coast["flips"] == 0


def test_frames_weigh_as_long_as_they_last():
    pts = np.array([0, 5, 30, 60, 95])
    found = tally_scenes(pts, np.array([COAST, KITCHEN, COAST, KITCHEN, COAST]), np.zeros(5, bool), NAMES, TRUTH)
    # The coast is right for 5 ticks and from 30 to 60, wrong for 25; the kitchen is right for 35 and wrong for 5.
    assert found["coast"].figures()["accuracy"] == pytest.approx(35 / 60, abs=1e-6)
    assert found["kitchen"].figures()["accuracy"] == pytest.approx(35 / 40)


def test_a_scene_that_the_model_has_no_name_for_has_no_accuracy():
    found = tally_scenes(PTS, np.zeros(20, int), none_unknown(), ("coast",), TRUTH)
    assert found["kitchen"].figures()["accuracy"] is None
    assert found["kitchen"].figures()["flips"] == 0
    assert total(found.values()).figures()["accuracy"] == 1


def test_no_frames_have_no_figures():
    found = tally_scenes(np.empty(0, int), np.empty(0, int), np.empty(0, bool), NAMES, TRUTH)
    assert set(found) == set(NAMES)
    assert total(found.values()) == Tally()
    assert set(total([]).figures().values()) == {0, None}


@pytest.mark.parametrize(("pts", "count"), [([0, 5, 5], 3), ([5, 0, 10], 3), ([0, 5, 10], 2)])
def test_arrays_that_make_no_sense(pts, count):
    with pytest.raises(ValueError, match="pts"):
        tally_scenes(np.array(pts), np.zeros(count, int), np.zeros(count, bool), NAMES, TRUTH)


times = st.sets(st.integers(0, 99), min_size=1).map(lambda found: np.array(sorted(found)))


@RELAXED
@given(times, st.data())
def test_what_holds_for_any_labels(pts, data):
    count = len(pts)
    said = np.array(data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)))
    unknown = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    found = tally_scenes(pts, said, unknown, NAMES, TRUTH)
    both = total(found.values())
    assert both.frames == sum(TRUTH.scene_at(int(t)) is not None for t in pts)
    assert 0 <= both.right_s <= both.named_s + 1e-9 <= both.seconds + 2e-9 <= 10 + 3e-9
    assert max(both.flips, both.unknown_flips) <= both.pairs <= max(0, both.frames - 1)
    assert both.unknown_s <= both.seconds + 1e-9
    # With two labels, exchanging them makes right wrong and leaves every flip where it is.
    other = total(tally_scenes(pts, 1 - said, unknown, NAMES, TRUTH).values())
    assert both.right_s + other.right_s == pytest.approx(both.seconds)
    assert other.flips == both.flips


@RELAXED
@given(st.lists(st.integers(0, 3)))
def test_differences_are_counted_once_a_change(values):
    changed = differs_from_before(np.array(values, int))
    assert len(changed) == len(values)
    assert changed.sum() == sum(a != b for a, b in pairwise(values))


@pytest.mark.parametrize(("best", "unknown"), [(0.49, True), (0.5, False), (0.9, False)])
def test_a_picture_is_unknown_under_the_threshold(best, unknown):
    calibration = SimpleNamespace(unknown_threshold=0.5)
    recognizer = SimpleNamespace(package=SimpleNamespace(manifest=SimpleNamespace(calibration=calibration)))
    prediction = Prediction(np.array([best, 0.3], np.float32), NAMES)
    assert called_unknown(recognizer, prediction) is unknown
