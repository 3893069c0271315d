"""Spans tile the time: without gaps, in order, and what they hold is what was said of the frames."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene_states import make_info

from streamer.errors import LabelFileError
from streamer.spans import CutNote, Moment, SpanGatherer
from streamer.timeline import Timeline
from streamer.timeline_file import read_timeline_file

BASES = (Fraction(1, 25), Fraction(1, 90_000), Fraction(1001, 30_000), Fraction(1, 1000))


@st.composite
def notes(draw, frame_id: int, pts: int) -> CutNote:
    """What the label of a frame may say of a cut: a hard one there, or a gradual one before."""
    if draw(st.booleans()):
        return CutNote("hard", frame_id, pts)
    end_pts = pts - draw(st.integers(0, 10**6))
    start = (0, end_pts - draw(st.integers(1, 10**6))) if draw(st.booleans()) else (None, None)
    return CutNote(draw(st.sampled_from(["fade", "dissolve"])), frame_id, end_pts, *start)


@st.composite
def moments(draw) -> list[Moment]:
    """Frames of a few parts: other epochs, starts of the publisher and time bases, at uneven intervals."""
    found = []
    for part in range(draw(st.integers(1, 4))):
        base = draw(st.sampled_from(BASES))
        pts = draw(st.integers(-(10**9), 10**9))
        for _ in range(draw(st.integers(1, 12))):
            scene = draw(st.sampled_from(["kitchen", "street", "forest"]))
            unknown, cut = draw(st.booleans()), draw(st.none() | notes(len(found), pts))
            p = draw(st.floats(0, 1))
            p_unknown = draw(st.none() | st.floats(0, 1))
            found.append(Moment(pts, base, part // 2, len(found), scene, p, unknown, p_unknown, cut, f"run {part % 2}"))
            pts += draw(st.integers(1, 10**6))
    return found


def gather(found: list[Moment]):
    gatherer = SpanGatherer()
    times = [gatherer.add(moment) for moment in found]
    return gatherer.timeline("cam"), times


@given(moments())
def test_spans_tile_the_time(found):
    timeline, times = gather(found)
    assert timeline.start == timeline.spans[0].start == times[0] == 0
    assert all(a.end == b.start for a, b in pairwise(timeline.spans))
    assert all(span.duration > 0 for span in timeline.spans)
    assert sum(span.duration for span in timeline.spans) == timeline.duration == timeline.end
    assert sum(span.frames for span in timeline.spans) == timeline.frames == len(found)
    assert times == sorted(set(times))


@given(moments())
def test_each_frame_lies_in_the_span_of_its_scene(found):
    timeline, times = gather(found)
    for moment, at in zip(found, times, strict=True):
        (span,) = [span for span in timeline.spans if span.start <= at < span.end]
        assert span.scene == (None if moment.unknown else moment.stable)
        assert (span.epoch, span.time_base) == (moment.epoch, moment.time_base)
        assert span.start_pts <= moment.pts < span.end_pts
        assert at - span.start == (moment.pts - span.start_pts) * moment.time_base


@given(moments())
def test_a_span_is_as_long_as_can_be_and_has_the_mean_of_its_frames(found):
    timeline, _ = gather(found)
    groups = [list(group) for _, group in groupby(found, key=lambda moment: (moment.part, moment.scene))]
    assert [(span.scene, span.frames) for span in timeline.spans] == [(g[0].scene, len(g)) for g in groups]
    for span, group in zip(timeline.spans, groups, strict=True):
        told = [moment.confidence for moment in group if moment.confidence is not None]
        assert span.p == (pytest.approx(sum(told) / len(told)) if told else None)


@given(moments())
def test_cuts_have_the_time_of_their_frames(found):
    timeline, times = gather(found)
    expected = []
    for moment, at in zip(found, times, strict=True):
        first, first_at = next((m, t) for m, t in zip(found, times, strict=True) if m.part == moment.part)
        note = moment.cut
        if note is None or note.pts < first.pts:
            continue
        start = None if note.start_pts is None else max(first_at, at - (moment.pts - note.start_pts) * moment.time_base)
        place = at - (moment.pts - note.pts) * moment.time_base, start
        expected.append((note.kind, note.frame_id, note.pts, note.start_pts, *place))
    found_cuts = [(cut.kind, cut.frame_id, cut.pts, cut.start_pts, cut.at, cut.start) for cut in timeline.cuts]
    assert sorted(found_cuts, key=str) == sorted(expected, key=str)
    assert [cut.at for cut in timeline.cuts] == sorted(cut.at for cut in timeline.cuts)
    assert all(cut.start is None or timeline.start <= cut.start <= cut.at <= timeline.end for cut in timeline.cuts)


@given(moments(), st.fractions(0, 1000))
def test_a_later_start_moves_everything(found, start):
    timeline, _ = gather(found)
    moved = timeline.starting_at(start)
    assert [(span.start - start, span.duration) for span in moved.spans] == [
        (span.start, span.duration) for span in timeline.spans
    ]
    assert [cut.at - start for cut in moved.cuts] == [cut.at for cut in timeline.cuts]
    assert [None if cut.start is None else cut.start - start for cut in moved.cuts] == [c.start for c in timeline.cuts]


def test_a_dissolve_lies_where_it_was_and_not_where_it_was_told():
    found = frames(*range(0, 200, 2))
    found[60] = replace(found[60], cut=CutNote("dissolve", 50, 100, 40, 80))
    found[55] = replace(found[55], cut=CutNote("hard", 55, 110))
    found[5] = replace(found[5], cut=CutNote("fade", 1, 2, None, None))
    found[10] = replace(found[10], cut=CutNote("dissolve", 2, -5, 0, -10))  # before the first label
    timeline, _ = gather(found)
    assert [(cut.kind, cut.at, cut.start) for cut in timeline.cuts] == [
        ("fade", Fraction(2, 25), None),
        ("dissolve", 4, Fraction(16, 5)),
        ("hard", Fraction(22, 5), None),
    ]
    assert len(timeline.spans) == 1


def frames(*pts: int, **changes) -> list[Moment]:
    return [Moment(t, Fraction(1, 25), 0, i, "kitchen", 0.5, **changes) for i, t in enumerate(pts)]


def test_the_last_frame_lasts_as_long_as_the_one_before():
    assert gather(frames(100, 102, 107))[0].end == Fraction(12, 25)


def test_a_lone_frame_lasts_as_long_as_those_of_the_part_before_or_a_tick():
    assert gather(frames(7))[0].duration == Fraction(1, 25)
    alone = Moment(0, Fraction(1, 1000), 1, 9, "kitchen", 0.5)
    timeline, _ = gather([*frames(0, 3, 6), alone])
    assert timeline.spans[-1].duration == Fraction(120, 1000)


def test_a_scene_lasts_through_a_gap_which_is_told():
    timeline, _ = gather(frames(0, 1, 251, 252))
    assert len(timeline.spans) == 1
    assert timeline.longest_gap == 10


@pytest.mark.parametrize("later", [5, 4])
def test_times_that_do_not_rise_are_refused(later):
    with pytest.raises(ValueError, match=f"pts {later} comes after 5"):
        gather(frames(5, later))


def test_nothing_makes_no_timeline():
    with pytest.raises(ValueError, match="a frame at least"):
        SpanGatherer().timeline("cam")


@given(moments())
def test_a_timeline_comes_back_from_its_file(tmp_path_factory, found):
    gathered = Timeline()
    for moment in found:
        gathered.add_moment(moment)
    path = tmp_path_factory.mktemp("timelines") / "clip.timeline.json"
    path.write_text(json.dumps(gathered.body(make_info(), {"name": "scene18"})))
    timeline, back = gathered.spans("clip", {"name": "scene18"}), read_timeline_file(path)
    assert (back.source, back.frames, back.model) == (timeline.source, timeline.frames, timeline.model)
    assert back.duration == timeline.duration
    for one, other in zip(back.spans, timeline.spans, strict=True):
        assert (one.scene, one.part, one.start, one.end) == (other.scene, other.part, other.start, other.end)
        assert one.p == (None if other.p is None else pytest.approx(other.p, abs=1e-4))
    assert [float(cut.at) for cut in back.cuts] == pytest.approx([float(cut.at) for cut in timeline.cuts], abs=1e-5)
    for one, other in zip(back.cuts, timeline.cuts, strict=True):
        numbers = ("kind", "frame_id", "pts", "start_frame_id", "start_pts", "epoch", "time_base")
        assert [getattr(one, name) for name in numbers] == [getattr(other, name) for name in numbers]
        assert (one.start is None) == (other.start is None)
        assert one.start is None or float(one.start) == pytest.approx(float(other.start), abs=1e-5)


def damaged(**changes) -> str:
    gathered = Timeline()
    for moment in frames(0, 1, 2):
        gathered.add_moment(moment)
    return json.dumps(gathered.body("clip") | changes)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{", "no timeline"),
        ("[1]", "version is None"),
        (damaged(version=2), "version is 2"),
        (damaged(spans=[]), "spans"),
        (damaged(frames="many"), "frames"),
        (damaged(spans=[{"scene": "kitchen"}]), r"spans.*start_pts"),
    ],
)
def test_a_damaged_file_is_told(text, hint, tmp_path):
    path = tmp_path / "clip.timeline.json"
    path.write_text(text)
    with pytest.raises(LabelFileError, match=rf"clip\.timeline\.json.*{hint}"):
        read_timeline_file(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(LabelFileError, match="no timeline at"):
        read_timeline_file(tmp_path / "clip.timeline.json")
