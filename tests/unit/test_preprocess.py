"""The tensor that the networks see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.preprocess import Preprocess, squash

PREPROCESS = Preprocess(width=32, height=24, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2))


def test_values_are_normalised_per_channel_in_rgb_order():
    picture = np.zeros((50, 60, 3), np.uint8)
    picture[..., 0], picture[..., 2] = 255, 51
    tensor = PREPROCESS(picture)
    assert tensor.shape == (3, 24, 32)
    assert tensor.dtype == np.float32
    np.testing.assert_allclose(tensor.mean((1, 2)), [1.0, -1.6, -0.5], atol=1e-5)


@given(st.integers(1, 400), st.integers(1, 400))
@settings(deadline=None, max_examples=40)
def test_any_size_keeps_its_mean(height, width):
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    small = squash(ramp, 32, 24)
    assert small.shape == (24, 32, 3)
    # Halving leaves out an odd last row or column.
    assert small.mean() == pytest.approx(ramp.mean(), abs=4)


def test_shrinking_averages_and_does_not_skip():
    stripes = np.zeros((960, 1280, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.ptp(squash(stripes, 32, 24)) <= 2
