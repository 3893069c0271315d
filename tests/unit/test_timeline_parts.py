"""The pure parts of a timeline's files: timecode, ticks, curves, summaries, colours."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.labels import load_labels
from config.labels.scene_colours import scene_colours
from streamer.spans import Moment, SpanGatherer
from tools.timeline.axis import tick_step
from tools.timeline.curves import CurveGatherer
from tools.timeline.summary import summarise
from tools.timeline.summary_view import summary_text
from tools.timeline.timecode import Timecode, timecode_for
from tools.timeline.words import clock, short_clock

NTSC = Timecode(Fraction(30_000, 1001), drop=True)

# -------------------------------------------------------------------- timecode


@pytest.mark.parametrize(
    ("frame", "text"),
    [  # SMPTE ST 12-1: numbers 0 and 1 of each minute are left out, but not of every tenth
        (0, "00:00:00;00"),
        (1799, "00:00:59;29"),
        (1800, "00:01:00;02"),
        (3597, "00:01:59;29"),
        (3598, "00:02:00;02"),
        (17_981, "00:09:59;29"),
        (17_982, "00:10:00;00"),
        (107_892, "01:00:00;00"),
    ],
)
def test_drop_frame(frame, text):
    assert NTSC.text(frame) == text


def test_drop_frame_at_twice_the_rate():
    timecode = Timecode(Fraction(60_000, 1001), drop=True)
    assert [timecode.text(f) for f in (3599, 3600, 35_964)] == ["00:00:59;59", "00:01:00;04", "00:10:00;00"]


@given(st.integers(0, 24 * 107_892 - 1))
def test_drop_frame_keeps_up_with_the_clock(frame):
    hours, minutes, seconds, frames = (int(part) for part in NTSC.text(frame).replace(";", ":").split(":"))
    shown = 3600 * hours + 60 * minutes + seconds + frames / 30
    # Two numbers go at once, and even so the count is 2.6 frames behind after a day.
    assert abs(shown - float(frame / NTSC.rate)) < (2 + 2.6) / 29.97
    assert NTSC.text(frame) != NTSC.text(frame + 1)


@given(st.integers(0, 10**6), st.sampled_from([Fraction(24), Fraction(25), Fraction(50), Fraction(24_000, 1001)]))
def test_plain_timecode_counts_frames(frame, rate):
    timecode = timecode_for(rate)
    hours, minutes, seconds, frames = (int(part) for part in timecode.text(frame).split(":"))
    assert (3600 * hours + 60 * minutes + seconds) * timecode.base + frames == frame
    assert timecode.frame(frame / rate) == frame


@pytest.mark.parametrize(
    ("rate", "expected", "drop"),
    [
        (Fraction(30_000, 1001), Fraction(30_000, 1001), True),
        (Fraction(2997, 100), Fraction(30_000, 1001), True),
        (Fraction(30), Fraction(30), False),
        (Fraction(24_000, 1001), Fraction(24_000, 1001), False),
        (Fraction(10), Fraction(25), False),
        (Fraction(2893, 100), Fraction(25), False),
        (None, Fraction(25), False),
    ],
)
def test_the_rate_of_the_timecode(rate, expected, drop):
    assert (timecode_for(rate).rate, timecode_for(rate).drop) == (expected, drop)


# ----------------------------------------------------------------------- times


def test_clocks():
    assert [clock(ms) for ms in (0, 1, 61_234, 360_000_000)] == [
        "00:00:00.000",
        "00:00:00.001",
        "00:01:01.234",
        "100:00:00.000",
    ]
    assert [short_clock(s) for s in (0, 59.99, 61, 3599, 3661)] == ["0:00", "0:59", "1:01", "59:59", "1:01:01"]


@given(st.floats(0.01, 10**6), st.integers(2, 30))
def test_ticks_are_few_and_not_too_few(duration, most):
    step = tick_step(duration, most)
    assert duration / step <= most
    assert step <= max(0.1, 5 * duration / most) or duration > 86_400


# ---------------------------------------------------------------------- curves


def curves_of(frames: list[tuple[Fraction, list[tuple[str, float]], float | None]], points: int, **changes):
    gatherer = CurveGatherer()
    for frame in frames:
        gatherer.add(*frame)
    return gatherer.curves(**{"duration": Fraction(10), "keep": (), "points": points} | changes)


def test_curves_are_means_over_equal_bins():
    frames = [(Fraction(i), [("kitchen", 0.1 * i), ("street", 1 - 0.1 * i)], None) for i in range(10)]
    curves = curves_of(frames, 5)
    assert (curves.scenes, curves.step, curves.values.shape) == (("street", "kitchen"), 2, (2, 5))
    assert curves.values[1] == pytest.approx([0.05, 0.25, 0.45, 0.65, 0.85])
    assert curves.values.sum(0) == pytest.approx(np.ones(5))


def test_no_more_points_than_frames():
    assert curves_of([(Fraction(0), [("kitchen", 0.5)], None)], 2000).values.tolist() == [[0.5]]


def test_a_curve_goes_on_through_a_gap():
    frames = [(Fraction(t), [("kitchen", p)], None) for t, p in [(0, 0.25), (1, 0.75), (9, 0.5)]]
    more = [(Fraction(9) + Fraction(i, 10), [("kitchen", 0.5)], None) for i in range(1, 8)]
    assert curves_of([*frames, *more], 10).values[0] == pytest.approx([0.25, *[0.75] * 8, 0.5])


def test_scenes_that_are_never_probable_have_no_curve_unless_they_are_wanted():
    frames = [(Fraction(i), [("kitchen", 0.9), ("street", 0.08), ("forest", 0.02)], 0.3) for i in range(10)]
    assert curves_of(frames, 10).scenes == ("kitchen", None)
    assert curves_of(frames, 10, keep=("forest",)).scenes == ("kitchen", None, "forest")


# --------------------------------------------------------------------- summary


def timeline_of(scenes: str, epochs: str | None = None):
    """A timeline with a frame a second: k(itchen), s(treet), ? for unknown."""
    gatherer = SpanGatherer()
    for i, letter in enumerate(scenes):
        epoch = int((epochs or "0" * len(scenes))[i])
        name = {"k": "kitchen", "s": "street", "?": "kitchen"}[letter]
        gatherer.add(Moment(i, Fraction(1), epoch, i, name, 0.8, letter == "?", 0.6))
    return gatherer.timeline("cam")


def test_shares_transitions_and_stays():
    summary = summarise(timeline_of("kkkss?kkss"))
    shares = {s.scene: (s.seconds, s.share, s.spans, s.longest) for s in summary.shares}
    assert shares == {"kitchen": (5, 0.5, 2, 3), "street": (4, 0.4, 2, 2), None: (1, 0.1, 1, 1)}
    assert [s.scene for s in summary.shares] == ["kitchen", "street", None]
    assert dict(summary.transitions) == {
        ("kitchen", "street"): 2,
        ("street", None): 1,
        (None, "kitchen"): 1,
    }
    assert [(span.scene, span.start) for span in summary.stays[:2]] == [("kitchen", 0), ("street", 3)]
    body = summary.body()
    assert body["transitions"] == {"scenes": ["kitchen", "street", None], "counts": [[0, 2, 0], [0, 0, 1], [1, 0, 0]]}
    assert body["scenes"][2] == {"scene": None, "seconds": 1.0, "share": 0.1, "spans": 1, "longest_s": 1.0, "p": 0.6}


def test_a_new_epoch_is_no_transition():
    summary = summarise(timeline_of("kkss", "0011"))
    assert not summary.transitions
    assert "no transitions" in summary_text(summary)


@given(st.text("ks?", min_size=1, max_size=40))
def test_a_summary_adds_up(scenes):
    timeline = timeline_of(scenes)
    summary = summarise(timeline)
    assert sum(share.seconds for share in summary.shares) == timeline.duration
    assert sum(share.share for share in summary.shares) == pytest.approx(1)
    assert sum(summary.transitions.values()) == len(timeline.spans) - 1
    assert all(a.duration >= b.duration for a, b in zip(summary.stays, summary.stays[1:], strict=False))


def test_the_table():
    lines = summary_text(summarise(timeline_of("kkkss?kkss"))).splitlines()
    assert lines[0] == "cam: 10 s, 10 frames, 5 spans, 0 cuts"
    assert lines[3].split() == ["Kitchen", "50.0%", "5.00", "2", "3.00", "0.80", "█" * 12]
    assert "Kitchen -> Street       2" in lines


# --------------------------------------------------------------------- colours


@pytest.mark.parametrize("name", ["scene18", "mit67"])
def test_scenes_of_a_model_have_colours_of_their_own(name):
    names = load_labels(name).names
    assert len(set(scene_colours(names).values())) == len(names)


def test_a_scene_keeps_its_colour_in_other_company():
    assert scene_colours(["kitchen"])["kitchen"] == scene_colours(["attic", "kitchen", "street"])["kitchen"]
    assert scene_colours(["attic"])["attic"] == scene_colours(["attic", "kitchen"])["attic"]
