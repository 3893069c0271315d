"""Turns a trained network into a model's folder: weights, graph and `model.json`, calibrated on dev."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.package import Calibration, ModelFile
from models.prediction import entropy
from models.recognizer import p_unknown
from models.scene_network import SceneNetwork, build_scene_network
from tools import metrics
from tools.export import export_graph, load_weights, save_weights
from tools.train.augment import Palette
from tools.train.corpus import Corpus
from tools.train.recipe import Recipe
from tools.train.scoring import (
    find_offsets,
    find_temperature,
    find_threshold,
    find_unknown,
    normalise,
    score,
    whole_picture,
)
from tools.train.unknown_layer import fit_unknown_layer

_GRAPH_CHECKS = 16  # pictures on which the graph is compared with torch


def package_model(
    recipe: Recipe,
    state: dict[str, torch.Tensor],
    corpus: Corpus,
    palette: Palette,
    folder: Path,
) -> dict[str, Any]:
    """Write a model's folder from the weights `state`, calibrated on the corpus' dev and strange pictures.

    The layer of `unknown` is fitted anew first, if the recipe says so.

    A scene that training showed rarely is favoured by as much as the recipe says (Menon et al., "Long-tail learning via
    logit adjustment", arXiv 2007.07314), and by what dev says beyond that.

    Returns the content of `model.json`.
    """
    cache, dev = corpus.scenes, corpus.dev
    counts = np.bincount(corpus.targets[corpus.train], minlength=len(recipe.labels))
    shown = np.power(counts, 1 - recipe.balance, dtype=np.float64)
    folder.mkdir(parents=True, exist_ok=True)
    network = build_scene_network(recipe.network())
    network.load_state_dict(state)
    offsets = -recipe.prior_correction * np.log(shown / shown.sum())
    network.classifier.shift_scenes(torch.from_numpy(offsets).float())  # type: ignore[operator]
    if recipe.offset_decay is not None:
        logits = score(network.eval(), cache, dev, recipe).scene
        found = find_offsets(logits, corpus.targets[dev], recipe.offset_decay)
        network.classifier.shift_scenes(torch.from_numpy(found))  # type: ignore[operator]
    if recipe.unknown_samples:
        fit_unknown_layer(network.eval(), corpus, palette, recipe)
    weights, graph = folder / "weights.safetensors", folder / "graph.onnx"
    save_weights(network, weights)
    load_weights(network, weights)  # calibrate what is shipped: float16
    network.eval()
    calibration = calibrate(network, corpus, recipe)
    checks = dev[np.linspace(0, len(dev) - 1, min(_GRAPH_CHECKS, len(dev))).astype(np.int64)]
    pictures = torch.from_numpy(np.stack([whole_picture(cache.pictures[r], recipe.size) for r in checks]))
    size = (recipe.size, recipe.size)
    export_graph(network, weights, graph, size, normalise(pictures, recipe.mean, recipe.std).numpy())
    manifest = _manifest(recipe, network, calibration, {"weights": weights, "graph": graph})
    part = folder / "model.part"
    part.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    part.replace(folder / "model.json")
    return manifest


def calibrate(network: SceneNetwork, corpus: Corpus, recipe: Recipe) -> Calibration:
    """Temperature, p(unknown) and the threshold that leaves the recipe's share of dev known."""
    dev = score(network, corpus.scenes, corpus.dev, recipe)
    temperature = find_temperature(dev.scene, corpus.targets[corpus.dev])
    probabilities = metrics.softmax(dev.scene, temperature)
    unknown, known = None, probabilities.max(axis=1)
    if corpus.strange is not None:
        odd = score(network, corpus.strange, np.arange(len(corpus.strange.grey)), recipe)
        entropies = entropy(probabilities), entropy(metrics.softmax(odd.scene, temperature))
        unknown = find_unknown((dev.unknown, entropies[0]), (odd.unknown, entropies[1]), corpus.strange_kinds)
        known = 1 - p_unknown(unknown, probabilities, dev.unknown)
    threshold = find_threshold(known, recipe.known_share)
    return Calibration(temperature=temperature, unknown_threshold=threshold, unknown=unknown)


def _manifest(
    recipe: Recipe, network: SceneNetwork, calibration: Calibration, files: dict[str, Path]
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
        "calibration": calibration.model_dump(exclude_none=True),
        "files": {part: ModelFile.of(path).model_dump() for part, path in files.items()},
    }
