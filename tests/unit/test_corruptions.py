"""The list of corruptions: what holds for all of them on any picture, and what is known of each."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import UserError
from tools.corruptions import CORRUPTIONS, corrupt

NAMES = list(CORRUPTIONS)
CHANCE = {"motion_blur", "noise", "low_light", "fog"}  # those that the seed changes


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colours with a little texture, (height, width, 3) uint8 RGB."""
    coarse = np.random.default_rng(seed).integers(40, 216, (6, 8, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    texture = 8 * np.sin(np.arange(width) * 24 * np.pi / width)[None, :, None]
    return np.clip(smooth + texture, 0, 255).astype(np.uint8)


@settings(deadline=None)
@given(st.sampled_from(NAMES), st.integers(1, 40), st.integers(1, 40), st.integers(-(2**70), 2**70))
def test_any_picture_gives_a_new_one_of_its_size(name: str, height: int, width: int, seed: int):
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = picture.copy()
    found = corrupt(name, picture, seed)
    assert found.shape == picture.shape
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert not np.shares_memory(found, picture)
    assert np.array_equal(picture, before)
    assert np.array_equal(found, corrupt(name, picture, seed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (2, 3)])
def test_odd_shapes(name: str, shape: tuple[int, int]):
    assert corrupt(name, np.full((*shape, 3), 130, np.uint8), 1).shape == (*shape, 3)


@pytest.mark.parametrize("name", NAMES)
def test_read_only_and_strided_pictures(name: str):
    picture = photograph(60, 160)[:, ::2]
    picture.flags.writeable = False
    assert np.array_equal(corrupt(name, picture, 3), corrupt(name, picture.copy(), 3))


@pytest.mark.parametrize("name", NAMES)
def test_every_corruption_shows_and_hides_not_all(name: str):
    picture = photograph(120, 160)
    found = corrupt(name, picture, 5)
    assert np.abs(found.astype(int) - picture).mean() > 0.5
    assert found.std() > 5


@pytest.mark.parametrize("name", NAMES)
def test_seed_matters_where_chance_does(name: str):
    picture = photograph(120, 160)
    assert np.array_equal(corrupt(name, picture, 1), corrupt(name, picture, 2)) == (name not in CHANCE)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"upscaled_240p"}))
def test_large_and_small_are_hurt_alike(name: str):
    """A picture of 256 lines and the same one of 512: seen at 64 lines, they were changed by about as much."""
    large = photograph(512, 682)
    small = cv2.resize(large, (341, 256), interpolation=cv2.INTER_AREA)
    assert changed(name, small) == pytest.approx(changed(name, large), rel=0.25, abs=0.3)


def changed(name: str, picture: np.ndarray) -> float:
    before, after = (
        cv2.resize(p, (85, 64), interpolation=cv2.INTER_AREA).astype(float)
        for p in (picture, corrupt(name, picture, 9))
    )
    return float(np.sqrt(((after - before) ** 2).mean()))


def test_mirrored_by_hand_and_twice():
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert corrupt("mirrored", picture, 0)[:, 0].tolist() == picture[:, 2].tolist()
    assert np.array_equal(corrupt("mirrored", corrupt("mirrored", picture, 0), 0), picture)


def test_grey_has_equal_channels_and_the_luminance():
    found = corrupt("grey", np.array([[[255, 0, 0], [0, 255, 0], [80, 80, 80]]], np.uint8), 0)
    assert found[0].tolist() == [[76] * 3, [150] * 3, [80] * 3]  # 0.299, 0.587 of 255


def test_letterbox_is_black_in_the_outer_eighths():
    found = corrupt("letterbox", np.full((80, 50, 3), 9, np.uint8), 0)
    assert not found[:10].any()
    assert (found[10:70] == 9).all()
    assert not found[70:].any()


def test_roll_keeps_the_centre_and_blackens_the_corners():
    found = corrupt("roll", np.full((101, 101, 3), 200, np.uint8), 0)
    assert (found[25:76, 25:76] == 200).all()
    assert not found[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    line = np.zeros((101, 101, 3), np.uint8)
    line[50] = 255
    right = corrupt("roll", line, 0)[:, 90, 0].argmax()
    assert right == pytest.approx(50 - 40 * np.tan(np.radians(15)), abs=1.5)  # anticlockwise: up on the right


def test_over_exposure_by_hand():
    """1.7 stops are a factor of 2^(1.7 / 2.2) = 1.709 with the display's gamma."""
    found = corrupt("over_exposure", np.array([[[0, 100, 200]]], np.uint8), 0)
    assert found.tolist() == [[[0, 171, 255]]]


def test_noise_has_its_strength_and_no_bias():
    found = corrupt("noise", np.full((256, 256, 3), 128, np.uint8), 4).astype(float)
    assert found.mean() == pytest.approx(128, abs=0.5)
    assert found.std() == pytest.approx(30, abs=0.5)


def test_low_light_is_dark():
    found = corrupt("low_light", np.full((256, 256, 3), 255, np.uint8), 4)
    assert found.mean() == pytest.approx(0.5 * 255, abs=0.5)
    assert corrupt("low_light", np.full((64, 64, 3), 60, np.uint8), 4).mean() < 30


def test_fog_is_denser_above_and_never_hides_all():
    black, white = (np.full((120, 90, 3), value, np.uint8) for value in (0, 255))
    foggy = corrupt("fog", black, 6).astype(float)
    assert foggy[:60].mean() > foggy[60:].mean()
    contrast = corrupt("fog", white, 6) - foggy
    assert contrast.min() >= 0.2 * 255 - 1
    assert contrast.max() <= 0.55 * 255 + 1


@pytest.mark.parametrize("name", ["blur", "motion_blur"])
def test_blurs_spread_a_point_and_keep_its_light(name: str):
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[120:136, 120:136] = 255
    found = corrupt(name, picture, 2).astype(float)
    assert found.sum() == pytest.approx(picture.sum(dtype=float), rel=0.02)
    assert (found[:, :, 0] > 0).sum() > 1.4 * 16 * 16


def test_blurs_leave_one_colour_as_it_is():
    picture = np.full((90, 70, 3), (10, 130, 250), np.uint8)
    for name in ("blur", "motion_blur", "upscaled_240p"):
        assert np.abs(corrupt(name, picture, 1).astype(int) - picture).max() <= 1


def test_240_lines_lose_what_they_cannot_hold():
    """Stripes as fine as the pixels that are made one: of 720 lines 3, of 256 lines 2."""
    for side, period in ((720, 3), (256, 2)):
        stripes = np.zeros((side, side, 3), np.uint8)
        stripes[:, ::period] = 240
        assert (corrupt("upscaled_240p", stripes, 0) == 240 // period).all()


def test_jpeg_is_quality_15_for_a_picture_of_256_lines():
    picture = photograph(256, 256)
    data = cv2.imencode(".jpg", picture[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, 15))[1]
    assert np.array_equal(corrupt("jpeg", picture, 0), cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1])


def test_unknown_name_lists_the_known():
    with pytest.raises(UserError, match=r"unknown corruption 'rain'; known: motion_blur, blur, noise, .*mirrored"):
        corrupt("rain", photograph(4, 4), 0)


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(picture: np.ndarray):
    with pytest.raises(ValueError, match="HxWx3 uint8"):
        corrupt("fog", picture, 0)


def test_each_row_says_what_it_stands_for():
    assert all(name == row.name and row.stands_for for name, row in CORRUPTIONS.items())
