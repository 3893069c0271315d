"""Turns a network that learnt the user's scenes into a model's folder, which every command takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.package import Manifest, ModelFile, ModelPackage
from models.scene_network import SceneNetwork
from tools.export import export_graph

VERSION = "1"


def write_graph(network: SceneNetwork, start: ModelPackage, folder: Path, pictures: NDArray[np.float32]) -> None:
    """Write `graph.onnx` beside the weights in `folder`; it must agree with torch on normalised `pictures`.

    Raises:
        ModelError: it does not.
    """
    size = (start.preprocess.height, start.preprocess.width)
    export_graph(network, folder / "weights.safetensors", folder / "graph.onnx", size, pictures)


def write_manifest(
    start: ModelPackage, folder: Path, name: str, labels: Sequence[str], calibration: dict[str, float]
) -> None:
    """Write `model.json` for the weights and the graph in `folder`: how pictures are seen is as in the start."""
    old = start.manifest
    assert old.segmenter is not None
    assert old.classifier is not None
    files = {"weights": folder / "weights.safetensors", "graph": folder / "graph.onnx"}
    values: dict[str, Any] = {
        "name": name,
        "version": VERSION,
        "segmenter": old.segmenter.model_dump(),
        "classifier": old.classifier.model_dump(),
        "preprocess": start.preprocess.model_dump(),
        "labels": list(labels),
        "semantic_classes": list(old.semantic_classes),
        "groups": {},
        "calibration": calibration,
        "files": {part: ModelFile.of(path).model_dump() for part, path in files.items()},
    }
    Manifest(**values)  # before it is written, not when it is read
    (folder / "model.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
