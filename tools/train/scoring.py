"""Runs a network over whole pictures of a cache, and calibrates it on what it says."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.scene_network import SceneNetwork
from tools import metrics
from tools.train.cache import PictureCache
from tools.train.frozen import FrozenModule
from tools.train.recipe import Recipe

_BATCH = 32


class Scores(NamedTuple):
    """Logits (N, C) of the three heads, and per picture the share of positions that agree with the teacher (N,)."""

    scene: NDArray[np.float32]
    rgb: NDArray[np.float32]
    semantic: NDArray[np.float32]
    agreement: NDArray[np.float32]


class _Heads(nn.Module):
    def __init__(self, network: SceneNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        output = self.network.forward_training(picture)
        return output.scene, output.rgb, output.semantic, output.segmentation.argmax(1).to(torch.int32)


def normalise(pictures: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32, normalised."""
    shape = (1, 3, 1, 1)
    scaled = pictures.permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def whole_picture(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A cached picture (256, 256, 3) uint8, whole, at the network's size."""
    return np.asarray(cv2.resize(np.array(rgb), (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def score(network: SceneNetwork, cache: PictureCache, rows: NDArray[np.int64], recipe: Recipe) -> Scores:
    """Score the cached pictures `rows` in their order, each whole and squashed to the network's size."""
    frozen = FrozenModule(_Heads(network), torch.zeros(1, 3, recipe.size, recipe.size))
    parts: list[tuple[NDArray[np.float32], ...]] = []
    for start in range(0, len(rows), _BATCH):
        chunk = rows[start : start + _BATCH]
        pictures = np.stack([whole_picture(cache.pictures[r], recipe.size) for r in chunk])
        *logits, classes = frozen(normalise(torch.from_numpy(pictures), recipe.mean, recipe.std))
        maps = zip(classes, chunk, strict=True)
        agreement = np.array([_agreement(c.numpy(), cache.labels[r, ..., 0]) for c, r in maps])
        parts.append((*(x.numpy() for x in logits), agreement.astype(np.float32)))
    return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def find_temperature(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """The temperature under which the targets are most likely (Guo et al., ICML 2017), to three digits."""
    candidates = np.geomspace(0.2, 5.0, 400)
    losses = [metrics.entropy_loss(metrics.softmax(logits, t), targets) for t in candidates]
    return float(np.round(candidates[int(np.argmin(losses))], 3))


def find_threshold(probabilities: NDArray[np.float64], known_share: float) -> float:
    """The largest top probability, to three digits, that at least `known_share` of the samples reach."""
    return float(np.floor(np.quantile(probabilities.max(axis=1), 1 - known_share) * 1000) / 1000)


def _agreement(classes: NDArray[np.int32], teacher: NDArray[np.uint8]) -> float:
    """Share of the teacher's positions where the class map, enlarged to them, says the same."""
    larger = cv2.resize(classes.astype(np.uint8), teacher.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return float((larger == teacher).mean())
