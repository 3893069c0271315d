"""When a segmentation is reused: not after a cut, a drift, an entry or a second; always while nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.cadence import Cadence, change, thumbnail

THRESHOLD, MAX_AGE_S = 0.012, 0.5


def picture(level: int = 90, seed: int = 0, size: tuple[int, int] = (180, 320)) -> np.ndarray:
    """Soft structures around a grey level."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(-40, 40, (size[0] // 20, size[1] // 20, 3))
    return np.clip(np.kron(coarse, np.ones((20, 20, 1))) + level, 0, 255).astype(np.uint8)


@pytest.fixture
def cadence() -> Cadence:
    return Cadence(THRESHOLD, MAX_AGE_S)


def test_the_first_picture_is_segmented_and_the_same_one_again_is_not(cadence):
    assert not cadence.reuses(picture(), 0.0, 0)
    assert cadence.reuses(picture(), 0.04, 0)


def test_noise_of_a_sensor_is_no_change(cadence):
    rng = np.random.default_rng(1)
    cadence.reuses(picture(), 0.0, 0)
    noisy = np.clip(picture() + rng.normal(0, 6, picture().shape), 0, 255).astype(np.uint8)
    assert cadence.reuses(noisy, 0.04, 0)


def test_a_cut_is_segmented_anew(cadence):
    cadence.reuses(picture(seed=0), 0.0, 0)
    assert not cadence.reuses(picture(seed=5), 0.04, 0)


def test_something_that_enters_is_segmented_anew(cadence):
    cadence.reuses(picture(), 0.0, 0)
    entered = picture()
    entered[100:160, 20:50] = 240
    assert not cadence.reuses(entered, 0.04, 0)


def test_a_slow_drift_adds_up_until_it_is_too_much(cadence):
    cadence.reuses(picture(level=90), 0.0, 0)
    answers = [cadence.reuses(picture(level=90 + step), 0.01 * step, 0) for step in range(1, 9)]
    assert answers[0]
    assert not all(answers)


def test_an_old_segmentation_is_made_anew_even_if_nothing_changes(cadence):
    times = [0.04 * i for i in range(40)]
    answers = [cadence.reuses(picture(), t, 0) for t in times]
    keys = [t for t, reused in zip(times, answers, strict=True) if not reused]
    assert len(keys) >= 3
    assert max(np.diff(keys)) <= MAX_AGE_S + 0.04 + 1e-9


@pytest.mark.parametrize(("seconds", "epoch"), [(0.04, 1), (-1.0, 0)])
def test_a_new_epoch_and_a_time_that_runs_backwards_start_anew(cadence, seconds, epoch):
    cadence.reuses(picture(), 0.0, 0)
    assert not cadence.reuses(picture(), seconds, epoch)


@given(st.integers(0, 2**31), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_change_is_a_symmetric_share(first, second):
    a, b = (thumbnail(picture(seed=s)) for s in (first, second))
    assert change(a, a) == 0
    assert change(a, b) == change(b, a)
    assert 0 <= change(a, b) <= 1


@pytest.mark.parametrize("size", [(1, 1), (7, 900), (2160, 3840)])
def test_pictures_of_any_size_have_a_thumbnail(size):
    assert thumbnail(np.zeros((*size, 3), np.uint8)).shape == (36, 64)
