"""Turns a trained network into a model's folder: weights, graph and `model.json`, calibrated on dev."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.scene_network import SceneNetwork, build_scene_network
from tools import metrics
from tools.export import export_graph, load_weights, save_weights
from tools.train.cache import PictureCache
from tools.train.recipe import Recipe
from tools.train.scoring import find_temperature, find_threshold, normalise, score, whole_picture

_GRAPH_CHECKS = 16  # pictures on which the graph is compared with torch


def package_model(
    recipe: Recipe,
    state: dict[str, torch.Tensor],
    cache: PictureCache,
    dev: NDArray[np.int64],
    targets: NDArray[np.int64],
    shown: NDArray[np.float64],
    folder: Path,
) -> dict[str, Any]:
    """Write a model's folder from the weights `state`; `dev` are rows of the cache, `targets` their scenes.
    `shown` (C,) is how often training showed each scene; what is rare there is favoured by as much as the recipe says
    (Menon et al., "Long-tail learning via logit adjustment", arXiv 2007.07314).

    Returns the content of `model.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = build_scene_network(recipe.network())
    network.load_state_dict(state)
    offsets = -recipe.prior_correction * np.log(shown / shown.sum())
    network.classifier.shift_scenes(torch.from_numpy(offsets).float())  # type: ignore[operator]
    weights, graph = folder / "weights.safetensors", folder / "graph.onnx"
    save_weights(network, weights)
    load_weights(network, weights)  # calibrate what is shipped: float16
    network.eval()
    logits = score(network, cache, dev, recipe).scene
    temperature = find_temperature(logits, targets)
    threshold = find_threshold(metrics.softmax(logits, temperature), recipe.known_share)
    checks = dev[np.linspace(0, len(dev) - 1, min(_GRAPH_CHECKS, len(dev))).astype(np.int64)]
    pictures = torch.from_numpy(np.stack([whole_picture(cache.pictures[r], recipe.size) for r in checks]))
    size = (recipe.size, recipe.size)
    export_graph(network, weights, graph, size, normalise(pictures, recipe.mean, recipe.std).numpy())
    manifest = _manifest(recipe, network, temperature, threshold, {"weights": weights, "graph": graph})
    part = folder / "model.part"
    part.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    part.replace(folder / "model.json")
    return manifest


def _manifest(
    recipe: Recipe, network: SceneNetwork, temperature: float, threshold: float, files: dict[str, Path]
) -> dict[str, Any]:
    class_ids: list[int] = network.get_buffer("class_ids").tolist()
    return {
        "name": recipe.name,
        "version": recipe.version,
        "segmenter": recipe.segmenter.model_dump(),
        "classifier": recipe.classifier.model_dump(),
        "preprocess": {"width": recipe.size, "height": recipe.size, "mean": recipe.mean, "std": recipe.std},
        "labels": recipe.labels,
        "semantic_classes": class_ids,
        "groups": recipe.groups,
        "calibration": {"temperature": temperature, "unknown_threshold": threshold},
        "files": {
            part: {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for part, path in files.items()
        },
    }
