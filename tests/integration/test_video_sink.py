"""The annotated video: every frame, at its own time, in its own colours."""

from __future__ import annotations

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene_states import gradient, make_info, make_state

from config.schema import OverlaySettings
from streamer.errors import OutputError
from streamer.film_clock import FilmClock
from streamer.sinks import SINKS
from streamer.sinks.base import Target

MS = Fraction(1, 1000)
BARE = OverlaySettings(tint=0, legend=False)


def film(directory, states, overlay=BARE):
    """The pts, time base and pictures of the video that the sink makes of `states`."""
    sink = SINKS.build("video", {}, target=Target(directory, "clip", overlay))
    first = states[0].frame
    sink.open(make_info(first.width, first.height, first.time_base))
    for state in states:
        sink.write(state)
    (path,) = sink.close()
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        tags = container.streams.video[0].codec_context
        assert (tags.color_primaries, tags.color_trc, tags.colorspace, tags.color_range) == (1, 1, 1, 1)
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    return [f.pts for f in frames], frames[0].time_base, [f.to_ndarray(format="rgb24") for f in frames]


def at(pts, time_base, size=(64, 48), **changes):
    return [make_state(gradient(*size, 5 * i), pts=t, time_base=time_base, seq=i, **changes) for i, t in enumerate(pts)]


@pytest.mark.parametrize(
    ("pts", "time_base"),
    [
        (list(range(30)), Fraction(1, 25)),
        ([20_000 * i for i in range(12)], Fraction(1, 200_000)),
        ([5000, 5033, 5080, 5400, 5401, 5500, 9000, 9033, 9100, 9133], MS),
        ([123_456 + 3003 * i + 100 * (i % 3) for i in range(20)], Fraction(1, 90_000)),
        ([0], Fraction(1, 30)),
        ([7, 8, 1_000_000], MS),
        ([8_589_934_592 + 3600 * i for i in range(4)], Fraction(1, 90_000)),
    ],
    ids=["even", "fine", "variable", "jitter", "one", "long pause", "large"],
)
def test_times_are_kept(pts, time_base, tmp_path):
    found, found_base, _ = film(tmp_path, at(pts, time_base))
    assert (found, found_base) == (pts, time_base)


def test_time_base_that_is_no_unit_fraction_is_kept_in_seconds(tmp_path):
    base = Fraction(1001, 30_000)
    pts, found_base, _ = film(tmp_path, at(range(7, 27), base))
    assert [t * found_base for t in pts] == [t * base for t in range(7, 27)]


def test_start_before_zero_moves_to_zero(tmp_path):
    pts, _, _ = film(tmp_path, at([-9000, -6000, -2000, 1000], Fraction(1, 90_000)))
    assert pts == [0, 3000, 7000, 10_000]


def test_new_epoch_goes_on_after_the_last_frame(tmp_path):
    states = at([0, 40, 80], MS) + at([0, 40], MS, epoch=1)
    pts, _, _ = film(tmp_path, states)
    assert pts == [0, 40, 80, 120, 160]


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (63, 47), (64, 47), (63, 48), (427, 240), (240, 426)])
def test_any_size(size, tmp_path):
    pts, _, pictures = film(tmp_path, at(range(3), MS, size))
    assert pts == [0, 1, 2]
    height, width = pictures[0].shape[:2]
    assert (width, height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


def test_size_changes_are_scaled_to_the_first(tmp_path):
    states = [make_state(gradient(*size), pts=i) for i, size in enumerate([(64, 48), (128, 96), (33, 71), (64, 48)])]
    pts, _, pictures = film(tmp_path, states)
    assert pts == [0, 1, 2, 3]
    assert {picture.shape for picture in pictures} == {(48, 64, 3)}


def test_colours_survive(tmp_path):
    red = np.full((48, 64, 3), (200, 30, 60), np.uint8)
    _, _, pictures = film(tmp_path, [make_state(red, pts=i) for i in range(3)])
    below = pictures[1][44:]  # under the panel
    assert np.abs(below.astype(int) - (200, 30, 60)).max() <= 6


def test_overlay_is_on_every_frame(tmp_path):
    grey = np.full((240, 426, 3), 200, np.uint8)
    _, _, pictures = film(tmp_path, [make_state(grey, pts=i) for i in range(8)])
    assert all(picture[20:60, 20:100].mean() < 130 for picture in pictures)


def test_time_bases_too_fine_for_the_format_become_microseconds(tmp_path):
    nanoseconds = [0, 33_333_333, 8_000_000_000, 8_000_000_400]
    pts, base, _ = film(tmp_path, at(nanoseconds, Fraction(1, 10**9)))
    assert (pts, base) == ([0, 33_333, 8_000_000, 8_000_001], Fraction(1, 10**6))


def test_pictures_too_large_for_the_codec(tmp_path):
    with pytest.raises(OutputError, match=r"larger than H\.264 takes"):
        film(tmp_path, [make_state(np.zeros((2, 20_000, 3), np.uint8))])


@given(st.lists(st.tuples(st.integers(-(10**6), 10**6), st.booleans()), min_size=1, max_size=30))
def test_the_film_never_runs_backwards(shots):
    clock, epoch, last, places = FilmClock(), 0, None, []
    for pts, new in shots:
        epoch += new or (last is not None and pts <= last)
        last = pts
        places.append(clock.place(pts, MS, epoch, MS))
    assert places[0] >= 0
    assert all(a < b for a, b in itertools.pairwise(places))
