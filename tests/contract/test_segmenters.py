"""Every segmenter plug-in gives probabilities of ADE20K classes for every pixel of a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_transformers import KINDS, save_tiny

from config.errors import ConfigError
from models.encoding import LabelBase, top3
from models.preprocess import Preprocess
from models.segmentation import PictureSegmenter
from models.segmenters import CSAIL_SEGMENTERS, SEGMENTERS
from models.torch_segmenters import ScaledSegmenter, SquashedSegmenter

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 32  # pixels that the networks see


def csail(name: str, _folder: Path) -> PictureSegmenter:
    network = SEGMENTERS.build(name, {"short_sides": (SIDE,)})
    return ScaledSegmenter(network, name=name, sha256=None, device="cpu")


def lite_fpn(name: str, _folder: Path) -> PictureSegmenter:
    preprocess = Preprocess(width=SIDE, height=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return SquashedSegmenter(SEGMENTERS.build(name, {}), preprocess, name=name, sha256="0" * 64, device="cpu")


def huggingface(kind: str, folder: Path) -> PictureSegmenter:
    network = SEGMENTERS.build("huggingface", {"model": str(save_tiny(kind, folder))})
    return ScaledSegmenter(network, name=kind, sha256=network.sha256, device="cpu")


MADE = {
    **dict.fromkeys(CSAIL_SEGMENTERS, csail),
    "lite_fpn": lite_fpn,
    **dict.fromkeys(KINDS, huggingface),
}


def test_every_plugin_is_tested():
    assert set(SEGMENTERS.names()) == {*MADE, "huggingface"} - set(KINDS)


@pytest.fixture(scope="module", params=MADE)
def segmenter(request, tmp_path_factory) -> PictureSegmenter:
    torch.manual_seed(3)
    return MADE[request.param](request.param, tmp_path_factory.mktemp(request.param))


def picture(height: int = 45, width: int = 70) -> np.ndarray:
    rng = np.random.default_rng(11)
    blocks = rng.integers(0, 256, (-(-height // 15), -(-width // 14), 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(15, 0).repeat(14, 1)[:height, :width])


def test_classes_are_those_of_ade20k(segmenter):
    ids = segmenter.class_ids
    assert all(0 <= number <= 150 for number in ids)
    classes = [number for number in ids if number]
    assert len(set(classes)) == len(classes) >= 3


@pytest.mark.parametrize("size", [None, (7, 150), (1, 1)])
def test_probabilities_have_the_asked_size_and_sum_to_one(segmenter, size):
    found = segmenter.probabilities(picture(), size)
    assert found.dtype == np.float32
    assert found.shape == (len(segmenter.class_ids), *(size or (45, 70)))
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (90, 30), (8, 90)])
def test_pictures_of_any_shape(segmenter, shape):
    np.testing.assert_allclose(segmenter.probabilities(picture(*shape), (8, 8)).sum(0), 1, atol=1e-5)


def test_the_same_picture_gives_the_same(segmenter):
    one = segmenter.probabilities(picture(), (30, 30))
    segmenter.probabilities(picture(20, 20), (30, 30))
    np.testing.assert_array_equal(one, segmenter.probabilities(picture(), (30, 30)))


def test_it_sees_where_things_are(segmenter):
    # Left and right of the picture differ, so the map must.
    whole = np.zeros((64, 64, 3), np.uint8)
    whole[:, 32:] = 255
    found = segmenter.probabilities(whole)
    assert np.abs(found - found[:, :, ::-1]).max() > 0


def test_encoding_takes_the_three_best(segmenter):
    found = segmenter.encode(picture(), LabelBase.ONE)
    expected = top3(segmenter.probabilities(picture()), segmenter.class_ids, LabelBase.ONE)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_a_picture_that_must_not_be_written(segmenter):
    locked = picture()
    locked.flags.writeable = False
    segmenter.probabilities(locked, (4, 4))


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(segmenter, wrong):
    with pytest.raises(ValueError, match="HxWx3"):
        segmenter.probabilities(wrong)
    with pytest.raises(ValueError, match="HxWx3"):
        segmenter.encode(wrong)


def test_a_size_that_is_none_is_refused(segmenter):
    with pytest.raises(ValueError, match="at least one row"):
        segmenter.probabilities(picture(), (0, 5))


@pytest.mark.parametrize("name", SEGMENTERS.names())
def test_an_unknown_parameter_is_named(name):
    with pytest.raises(ConfigError, match="colour"):
        SEGMENTERS.params(name, {"colour": 1, **({"model": "x"} if name == "huggingface" else {})})
