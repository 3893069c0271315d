"""The test pattern: exact times, a number in every frame, and the pace of a camera if asked for."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import CaptureSettings
from streamer.address import open_source
from streamer.sources.synthetic import draw, make_texture, read_number


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(32, 8), (33, 9), (640, 360), (1023, 17)]), st.integers(0, 5))
def test_the_number_can_be_read(number: int, size: tuple[int, int], noise: int) -> None:
    image = draw(make_texture(*size, seed=1), number)
    assert image.shape == (size[1], size[0], 3)
    shaken = np.clip(image.astype(int) + np.random.default_rng(0).integers(-40, 41, image.shape) * (noise > 0), 0, 255)
    assert read_number(shaken.astype(np.uint8)) == number


def test_exact_times() -> None:
    with open_source("synthetic:?fps=30000/1001&frames=3&width=64&height=48", None, CaptureSettings()) as source:
        source.open()
        frames = list(source.frames())
    assert [f.pts * f.time_base for f in frames] == [Fraction(1001 * i, 30000) for i in range(3)]
    assert [read_number(f.image) for f in frames] == [0, 1, 2]
    assert not np.array_equal(frames[0].image, frames[1].image)


def test_seeds_differ_and_repeat() -> None:
    assert np.array_equal(make_texture(64, 48, 3), make_texture(64, 48, 3))
    assert not np.array_equal(make_texture(64, 48, 3), make_texture(64, 48, 4))


def test_real_time() -> None:
    with open_source("synthetic:?fps=50&frames=11&realtime=1&width=64&height=48", None, CaptureSettings()) as source:
        info = source.open()
        began = time.monotonic()
        frames = list(source.frames())
        assert time.monotonic() - began >= 0.19
    assert info.live
    assert {f.clock for f in frames} == {"arrival"}


def test_slow_real_time_is_refused() -> None:
    with pytest.raises(Exception, match="at least 1/2"):
        open_source("synthetic:?fps=1/10&realtime=1", None, CaptureSettings())
