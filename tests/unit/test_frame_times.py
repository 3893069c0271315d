"""Every frame gets a time: its own if it has one."""

from __future__ import annotations

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from streamer.sources._times import FrameTimes

MS = 1_000_000


@given(st.lists(st.integers(-(2**40), 2**40)), st.booleans())
def test_own_times_stay(own: list[int], live: bool) -> None:
    times = FrameTimes(Fraction(1, 90_000), 0, Fraction(25), live=live)
    assert [times.pts(pts, 0, i) for i, pts in enumerate(own)] == own


@given(st.lists(st.one_of(st.none(), st.just(0)), min_size=1), st.booleans())
def test_derived_times_rise(own: list[int | None], live: bool) -> None:
    times = FrameTimes(Fraction(1, 1000), 5, None, live=live)
    given_times = [times.pts(pts, 0, i * 40 * MS) for i, pts in enumerate(own)]
    assert None not in given_times[1:]
    for before, after, said in zip(given_times, given_times[1:], own[1:], strict=False):
        assert said is not None or before is None or after > before


def test_recording_without_times() -> None:
    times = FrameTimes(Fraction(1, 1000), 7, Fraction(25), live=False)
    assert [times.pts(None, d, 0) for d in (0, 0, 33, 0)] == [7, 47, 87, 120]


def test_live_stream_whose_first_picture_has_no_time() -> None:
    times = FrameTimes(Fraction(1, 90_000), 0, None, live=True)
    assert [times.pts(own, 0, 0) for own in (None, 3600, 7200)] == [None, 3600, 7200]


def test_live_stream_without_times() -> None:
    times = FrameTimes(Fraction(1, 1000), 0, Fraction(25), live=True)
    assert [times.pts(None, 0, ns * MS) for ns in (0, 40, 80, 200, 200)] == [None, 0, 40, 160, 161]


def test_rising_counter() -> None:
    times = FrameTimes(Fraction(1, 25), 0, Fraction(25), live=False)
    pts = [times.pts(None, 0, 0) for _ in range(5)]
    assert all(b - a == 1 for a, b in itertools.pairwise(p for p in pts if p is not None))
