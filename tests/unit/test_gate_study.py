"""The arms of the study of gates, and the offsets and masks that training measures with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tools.data.manifest import ManifestError
from tools.train.class_maps import class_shares, dense_maps
from tools.train.gate_designs import DESIGNS, FEATURES, MAP_SIDE, PLACES
from tools.train.gate_study import summary
from tools.train.masks import camvid_accuracy, corrected
from tools.train.scoring import find_offsets
from tools.train.teacher import SIDE


@pytest.mark.parametrize("name", DESIGNS)
def test_every_arm_gives_logits_and_learns(name: str):
    torch.manual_seed(0)
    network = DESIGNS[name](5, 3)
    logits = network(torch.rand(2, FEATURES, PLACES, PLACES), torch.rand(2, 5, MAP_SIDE, MAP_SIDE).softmax(1))
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_an_open_gate_starts_as_identity():
    torch.manual_seed(0)
    network = DESIGNS["open_gate"](5, 3).eval()
    rgb = torch.rand(2, FEATURES, PLACES, PLACES)
    joined = network.features(rgb, torch.rand(2, 5, MAP_SIDE, MAP_SIDE))
    assert torch.allclose(joined[:, :FEATURES], rgb.mean((2, 3)), atol=1e-6)


def test_gains_are_over_rgb_alone():
    truth = np.array([0, 0, 1, 1])
    right = {"rgb": {"val": [np.array([1, 0, 1, 0], bool)]}, "regions": {"val": [np.array([1, 1, 1, 0], bool)]}}
    table = summary(right, {"val": truth}, ("a", "b"))
    assert table["rgb"]["val"]["gain"] == 0
    assert table["regions"]["val"]["gain"] == pytest.approx(0.25)
    assert table["regions"]["val"]["gain_by_scene"] == {"a": 0.5, "b": 0.0}


def test_class_maps_and_shares():
    labels = np.array([[[[2, 0, 1], [3, 0, 1]]]], np.uint8)  # one picture of 1x2 positions
    scores = np.array([[[[255, 0, 0], [51, 204, 0]]]], np.uint8)
    maps = dense_maps(labels, scores)
    assert maps[0, :4, 0].tolist() == [[0.0, pytest.approx(0.8)], [0.0, 0.0], [1.0, 0.0], [0.0, pytest.approx(0.2)]]
    shares = class_shares(maps)
    assert shares.shape == (1, maps.shape[1] * 10)
    assert shares[0, :4].tolist() == pytest.approx([0.4, 0.0, 0.5, 0.1])


def test_offsets_undo_a_shift():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 3000)
    logits = (3 * np.eye(3)[targets] + rng.gumbel(size=(3000, 3))).astype(np.float32)
    shifted = logits + np.array([0.0, 2.0, 0.0], np.float32)
    found = find_offsets(shifted, targets, decay=1e-4)
    assert found[1] - found[[0, 2]].mean() == pytest.approx(-2, abs=0.4)
    assert np.abs(find_offsets(shifted, targets, decay=1e6)).max() < 0.01


def test_pixels_are_compared_in_ade20k_ids(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((4, 6, 3), np.uint8))
    mask = np.array([[0, 0, 0, 3, 3, 3], [11] * 6, [11] * 6, [11] * 6], np.uint8)  # sky, road, void
    cv2.imwrite(str(tmp_path / "a_mask.png"), mask)
    told = camvid_accuracy(tmp_path, {"sky": lambda _: np.full((2, 2), 3, np.uint8)})
    assert told["sky"] == {"pixels": 0.5, "classes": {3: 1.0, 7: 0.0}}


def test_a_mask_of_another_size_is_named(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((4, 6, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a_mask.png"), np.zeros((2, 2), np.uint8))
    with pytest.raises(ManifestError, match=r"a_mask\.png is of another size than its picture"):
        camvid_accuracy(tmp_path, {})


def test_a_mask_overrules_the_teacher_where_it_names_a_class(tmp_path: Path):
    mask = np.full((SIDE, SIDE), 11, np.uint8)  # void, of which the teacher keeps the word
    mask[:, : SIDE // 2] = 3  # road
    cv2.imwrite(str(tmp_path / "a_mask.png"), mask)
    labels, scores = np.full((SIDE, SIDE, 3), 5, np.uint8), np.full((SIDE, SIDE, 3), 85, np.uint8)
    taught, sure = corrected(tmp_path / "a.jpg", labels, scores)
    assert (taught[:, : SIDE // 2, 0] == 7).all()
    assert (sure[:, : SIDE // 2, 0] == 255).all()
    np.testing.assert_array_equal(taught[:, SIDE // 2 :], labels[:, SIDE // 2 :])
    np.testing.assert_array_equal(sure[:, SIDE // 2 :], scores[:, SIDE // 2 :])


def test_a_picture_to_learn_from_needs_its_mask(tmp_path: Path):
    maps = np.zeros((SIDE, SIDE, 3), np.uint8)
    with pytest.raises(ManifestError, match=r"a_mask\.png"):
        corrected(tmp_path / "a.jpg", maps, maps)
