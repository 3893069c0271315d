"""Scene networks of the reference with weights by formula, as packages, and a segmenter that costs nothing."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from models.classifiers.places_baseline import PlacesBaseline
from models.classifiers.two_branch import RGBNet, SemanticNet, TwoBranchNet
from models.segmentation import Picture, PictureSegmenter
from models.segmenters import build_csail

# So that semantics are felt, of whose 152 channels a pixel has three, and no scene is certain.
_STRENGTHS = {"in_block_sem.": 8.0, "lastConvSEM": 2.0, "fc_": 0.5, "fc.": 0.1, "network.fc": 0.1}

SCENES = tuple(f"scene {i}" for i in range(6))

# Name: how to build it, and its entry in model.json.
NETWORKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "two": (lambda: TwoBranchNet("resnet18", len(SCENES)), {"kind": "two_branch", "params": {"branches": "both"}}),
    "rgb": (lambda: RGBNet("resnet18", len(SCENES)), {"kind": "two_branch", "params": {"branches": "rgb"}}),
    "semantic": (lambda: SemanticNet(len(SCENES)), {"kind": "two_branch", "params": {"branches": "semantic"}}),
    "googlenet": (
        lambda: PlacesBaseline("googlenet", len(SCENES)),
        {"kind": "places_baseline", "params": {"architecture": "googlenet"}},
    ),
}


def filled(network: nn.Module) -> nn.Module:
    """Weights that depend on their names alone, of a size that lets every input be felt in the output."""
    state = network.state_dict()
    for key, value in state.items():
        if value.ndim == 0:
            continue
        noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
        if key.endswith("running_var"):
            value.copy_(1 + 0.1 * noise.abs())
        elif value.ndim == 1:
            value.copy_(float(key.endswith("weight")) + 0.1 * noise)
        else:
            strength = next((factor for part, factor in _STRENGTHS.items() if key.startswith(part)), 1.0)
            value.copy_(noise * (2 / value[0].numel()) ** 0.5 * strength)
    network.load_state_dict(state)
    return network.eval()


def made(kind: str) -> nn.Module:
    """One of `NETWORKS`, filled."""
    with torch.device("meta"):
        network = NETWORKS[kind][0]()
    return filled(network.to_empty(device="cpu"))


def write_package(folder: Path, kind: str, network: nn.Module, **more: Any) -> Path:
    """The folder of a scene model."""
    spec = NETWORKS[kind][1]
    classifier = {"kind": spec["kind"], "params": spec["params"] | {"scene_classes": len(SCENES)}}
    return _write(folder, network, {"classifier": classifier, "crop": {}, "labels": SCENES} | more)


def write_segmenter(folder: Path, kind: str, network: nn.Module) -> Path:
    """The folder of a segmenter."""
    return _write(folder, network, {"segmenter": {"kind": kind, "params": {}}})


def write_mobile(folder: Path) -> Path:
    """The folder of a small segmenter, none of whose classes is certain anywhere."""
    network = filled(build_csail("c1_mobilenetv2"))
    with torch.no_grad():
        network.decoder.conv_last.weight.mul_(0.02)
    return write_segmenter(folder, "c1_mobilenetv2", network)


def _write(folder: Path, network: nn.Module, parts: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    weights = folder / "weights.safetensors"
    save_file(network.state_dict(), weights)
    file = {"path": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    manifest = {"name": folder.name, "version": 1, "files": {"weights": file}} | parts
    (folder / "model.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


class ColourSegmenter(PictureSegmenter):
    """Takes a pixel's colour for its class: five classes, smooth probabilities, one of them nowhere."""

    name = "colours"
    sha256 = None
    device = "cpu"
    class_ids = (0, 1, 7, 64, 150, 12)

    def probabilities(self, picture: Picture, size: tuple[int, int] | None = None) -> np.ndarray:
        """See `PictureSegmenter.probabilities`."""
        red, green, blue = cv2.GaussianBlur(picture, (5, 5), 0).astype(np.float32).transpose(2, 0, 1) / 255
        parts = np.stack([0.1 + 0 * red, red, green, blue, 1 - red, np.full_like(red, -np.inf)])
        spread = np.exp(4 * parts)
        whole = (spread / spread.sum(0)).astype(np.float32)
        if size is None:
            return whole
        return np.stack([cv2.resize(plane, size[::-1]) for plane in whole])


def blobs(height: int = 300, width: int = 400, seed: int = 0) -> np.ndarray:
    """Smooth blobs of colour, H×W×3 uint8."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))
