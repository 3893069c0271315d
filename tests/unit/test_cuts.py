"""The cut detector: hard cuts, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from models.cuts import CutDetector, thumbnail


def picture(value: int, height: int = 90, width: int = 160) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_a_hard_cut_is_found_on_its_frame_alone():
    detector = CutDetector(0.16, 3.0)
    values = [40] * 10 + [200] * 10
    assert [i for i, v in enumerate(values) if detector.update(picture(v))] == [10]


def test_a_slow_fade_is_no_cut():
    detector = CutDetector(0.16, 3.0)
    assert not any(detector.update(picture(v)) for v in range(0, 250, 5))


def test_a_scene_that_always_changes_has_no_cuts_once_that_is_known():
    detector = CutDetector(0.16, 3.0)
    found = [detector.update(picture(80 + 30 * (i % 2))) for i in range(50)]
    assert not any(found)


def test_a_reset_forgets_the_last_picture():
    detector = CutDetector(0.16, 3.0)
    detector.update(picture(0))
    detector.reset()
    assert not detector.update(picture(255))


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3), (2160, 3840)])
def test_any_size_gives_the_same_thumbnail_shape(size):
    small = thumbnail(np.zeros((*size, 3), np.uint8))
    assert small.shape == (18, 32, 3)
    assert small.dtype == np.int16
