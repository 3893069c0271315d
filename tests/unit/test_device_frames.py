"""Frames on a device say what frames on the host say: each function on the device `cpu`, against its twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reference_models import blobs

from models.crops import IMAGENET_MEAN, IMAGENET_STD, CropPreprocess
from models.device_frames import DeviceLane, as_picture, by_size, normalised, resized, squashed
from models.preprocess import squash
from models.scaling import ShortSideScaling

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SIZES = st.tuples(st.integers(1, 90), st.integers(1, 90))


def noise(height: int, width: int) -> np.ndarray:
    """The hardest to resize: no pixel is like its neighbours."""
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def up(*pictures: np.ndarray) -> torch.Tensor:
    return DeviceLane("cpu").upload(pictures)


def test_what_goes_up_is_the_frames_own_memory():
    lane, pictures = DeviceLane("cpu"), [noise(5, 7), noise(5, 7)[:, ::-1]]
    first = lane.upload(pictures)
    lane.upload([np.zeros((5, 7, 3), np.uint8)] * 2)
    assert first.dtype == torch.uint8
    assert np.array_equal(first.numpy(), np.stack(pictures))


def test_frames_that_cannot_be_written_to_go_up_too():
    picture = noise(3, 4)
    picture.flags.writeable = False
    assert np.array_equal(up(picture)[0].numpy(), picture)


@given(SIZES, st.tuples(st.integers(6, 90), st.integers(6, 90)))  # in one step
@settings(max_examples=60, deadline=None)
def test_resized_is_pillow_s_bilinear(source, target):
    found = resized(up(noise(*source)), target)[0].numpy().transpose(1, 2, 0)
    wanted = np.asarray(Image.fromarray(noise(*source)).resize(target[::-1], Image.Resampling.BILINEAR), np.float32)
    assert np.abs(found - wanted).max() <= 1
    assert np.array_equal(found, np.rint(found))


def test_a_frame_made_very_much_smaller_takes_two_steps():
    picture = blobs(40 * 33, 50)
    found = resized(up(picture), (33, 2))[0].numpy().transpose(1, 2, 0)
    wanted = np.asarray(Image.fromarray(picture).resize((2, 33), Image.Resampling.BILINEAR), np.float32)
    assert np.abs(found - wanted).max() <= 4


@given(SIZES, SIZES)
@settings(max_examples=60, deadline=None)
def test_squashed_is_what_models_see_on_the_host(source, target):
    height, width = target
    difference = squashed(up(noise(*source)), target)[0].numpy().astype(int) - squash(noise(*source), width, height)
    assert np.abs(difference).max() <= 1


def test_normalised_is_the_crop_and_the_scaling_of_the_host():
    picture = blobs(256, 300)
    crop = CropPreprocess()
    (box,) = crop.boxes(picture)
    whole = normalised(resized(up(picture), (256, 300)), IMAGENET_MEAN, IMAGENET_STD)
    cut = whole[0, :, box.top : box.top + 224, box.left : box.left + 224]
    np.testing.assert_allclose(cut, crop.tensor(picture, box), atol=1e-5)
    scaling = ShortSideScaling(8)
    seen = normalised(resized(up(picture), scaling.size(256, 300, 120)), IMAGENET_MEAN, IMAGENET_STD)
    np.testing.assert_allclose(seen[0], scaling(picture, 120), atol=1.01 / 255 / min(IMAGENET_STD))


def test_precision_leaves_grey_levels_alone():
    picture = noise(64, 48)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(squashed(up(picture), (20, 20)), squashed(up(picture), (20, 20)))
        found = squashed(up(picture), (20, 20))
    assert torch.equal(found, squashed(up(picture), (20, 20)))


def test_pictures_of_one_size_go_together():
    shapes = [(2, 3, 3), (4, 4, 3), (2, 3, 3), (3, 2, 3)]
    assert by_size([np.zeros(shape, np.uint8) for shape in shapes]) == [[0, 2], [1], [3]]


def test_a_picture_beyond_8k_is_halved_first():
    assert as_picture(np.zeros((20, 30, 3), np.uint8)).shape == (20, 30, 3)
    assert as_picture(np.broadcast_to(np.uint8(7), (9000, 9000, 3))).shape == (4500, 4500, 3)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(bad):
    with pytest.raises(ValueError, match="HxWx3"):
        as_picture(bad)


@needs_cuda
@pytest.mark.parametrize("size", [(288, 288), (256, 455), (900, 1400)])
def test_a_cuda_device_resizes_as_the_cpu_does(size):
    pictures = [noise(720, 1280), blobs(720, 1280)]
    lane = DeviceLane("cuda")
    with lane.stream():
        frames = lane.upload(pictures)
        lane.upload([np.zeros((720, 1280, 3), np.uint8)] * 2)  # must not reach the frames before
        found = [resized(frames, size).cpu(), squashed(frames, size).cpu()]
    for one, other in zip(found, [resized(up(*pictures), size), squashed(up(*pictures), size)], strict=True):
        assert (one.float() - other.float()).abs().max() <= 1
        assert (one != other).float().mean() < 0.01


@needs_cuda
def test_the_largest_step_fits_a_cuda_device():
    lane = DeviceLane("cuda")
    with lane.stream():
        assert resized(lane.upload([noise(5000, 3)]), (7, 3)).cpu().shape == (1, 3, 7, 3)
