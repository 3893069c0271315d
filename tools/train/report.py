"""What is told of a trained network: figures on val, which nothing was chosen on, and what colour does to it.

The probes change the pictures: all to grey, all under odd light, and the grey ones given colours. Some scenes are only
had in grey, so that plain figures cannot show whether a network takes colour as proof against them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.scene_network import SceneNetwork
from tools import metrics
from tools.train import augment
from tools.train.cache import PictureCache
from tools.train.recipe import Recipe
from tools.train.scoring import Scores, score

Rows = NDArray[np.int64]
Change = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]


def report(
    network: SceneNetwork, cache: PictureCache, rows: Rows, targets: Rows, palette: augment.Palette, recipe: Recipe
) -> dict[str, Any]:
    """Figures of `network` on the cached pictures `rows`, whose scenes are `targets`."""
    plain = score(network, cache, rows, recipe)
    grey = cache.grey[rows]
    figures: dict[str, Any] = {
        "both": _accuracy(plain.scene, targets),
        "rgb_alone": _accuracy(plain.rgb, targets),
        "semantic_alone": _accuracy(plain.semantic, targets),
        "teacher_agreement": float(plain.agreement.mean()),
        "all_to_grey": _accuracy(
            _changed(network, cache, rows, recipe, lambda p, _: augment.to_grey(p)).scene, targets
        ),
        "odd_light": _accuracy(_changed(network, cache, rows, recipe, _odd_light).scene, targets),
    }
    if grey.any():
        coloured = _changed(network, cache, rows[grey], recipe, _colouring(cache, palette))
        figures["grey_as_is"] = _by_scene(plain.scene[grey], targets[grey], recipe.labels)
        figures["grey_coloured"] = _by_scene(coloured.scene, targets[grey], recipe.labels)
    return figures


def _changed(network: SceneNetwork, cache: PictureCache, rows: Rows, recipe: Recipe, change: Change) -> Scores:
    """Scores of changed copies of the pictures."""
    pictures = np.stack([change(np.array(cache.pictures[row]), int(row)) for row in rows])
    copies = PictureCache(pictures, cache.grey[rows], cache.labels[rows], cache.scores[rows])
    return score(network, copies, np.arange(len(rows)), recipe)


def _odd_light(rgb: NDArray[np.uint8], row: int) -> NDArray[np.uint8]:
    return augment.tint(rgb, np.random.default_rng(row))


def _colouring(cache: PictureCache, palette: augment.Palette) -> Change:
    def change(rgb: NDArray[np.uint8], row: int) -> NDArray[np.uint8]:
        labels, scores = np.array(cache.labels[row]), np.array(cache.scores[row])
        return augment.colourise(rgb, labels, scores, palette, np.random.default_rng(row))

    return change


def _accuracy(logits: NDArray[np.float32], targets: Rows) -> dict[str, float]:
    confusion = metrics.confusion_matrix(logits.argmax(axis=1), targets, logits.shape[1])
    return {
        "top1": round(metrics.top_k_accuracy(logits, targets, 1), 4),
        "mca": round(metrics.mean_class_accuracy(confusion), 4),
    }


def _by_scene(logits: NDArray[np.float32], targets: Rows, labels: tuple[str, ...]) -> dict[str, float]:
    right = logits.argmax(axis=1) == targets
    scenes = {labels[t]: round(float(right[targets == t].mean()), 4) for t in np.unique(targets)}
    return {"all": round(float(right.mean()), 4), **scenes}
