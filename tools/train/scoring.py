"""Runs a network over whole pictures of a cache, and calibrates it on what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.package import UnknownCalibration
from models.scene_network import SceneNetwork
from tools import metrics
from tools.train.cache import PictureCache
from tools.train.data import Pool
from tools.train.frozen import FrozenModule
from tools.train.optimiser import minimise
from tools.train.recipe import Recipe

_BATCH = 32
_NEWTON_STEPS = 50
_RIDGE = 1e-3


class Scores(NamedTuple):
    """Logits (N, C) of the three heads, (N,) of unknown, and per picture the share of positions that agree with the
    teacher (N,)."""

    scene: NDArray[np.float32]
    rgb: NDArray[np.float32]
    semantic: NDArray[np.float32]
    unknown: NDArray[np.float32]
    agreement: NDArray[np.float32]


class _Heads(nn.Module):
    def __init__(self, network: SceneNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        output = self.network.forward_training(picture)
        classes = output.segmentation.argmax(1).to(torch.int32)
        return output.scene, output.rgb, output.semantic, output.unknown, classes


def normalise(pictures: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32, normalised."""
    shape = (1, 3, 1, 1)
    scaled = pictures.permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def whole_picture(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A cached picture (S, S, 3) uint8, whole, at the network's size."""
    return np.asarray(cv2.resize(np.array(rgb), (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def score(network: SceneNetwork, cache: PictureCache, rows: NDArray[np.int64], recipe: Recipe) -> Scores:
    """Score the cached pictures `rows` in their order, each whole and squashed to the network's size."""
    frozen = FrozenModule(_Heads(network), torch.zeros(1, 3, recipe.size, recipe.size))
    # Results go where they stay: small arrays kept from batch to batch would cut up the memory that its pictures take.
    scenes = (len(rows), len(recipe.labels))
    found = Scores(*(np.zeros(shape, np.float32) for shape in (scenes, scenes, scenes, len(rows), len(rows))))
    for start in range(0, len(rows), _BATCH):
        chunk = rows[start : start + _BATCH]
        pictures = np.stack([whole_picture(cache.pictures[r], recipe.size) for r in chunk])
        *logits, classes = frozen(normalise(torch.from_numpy(pictures), recipe.mean, recipe.std))
        for kept, new in zip(found, logits, strict=False):
            kept[start : start + len(chunk)] = new.numpy()
        maps = zip(classes, chunk, strict=True)
        found.agreement[start : start + len(chunk)] = [_agreement(c.numpy(), cache.labels[r, ..., 0]) for c, r in maps]
    return found


def own_word(network: SceneNetwork, pool: Pool, recipe: Recipe) -> Pool:
    """The pool with what `network` says of every picture of a scene, whole and unchanged, as what is wanted of it: in
    equal parts with what was wanted before, if anything was."""
    wanted = pool.wanted.copy()
    for number, cache in enumerate(pool.caches):
        asked = np.flatnonzero((pool.places[:, 0] == number) & (pool.targets >= 0))
        if len(asked):
            said = metrics.softmax(score(network.eval(), cache, pool.places[asked, 1], recipe).scene)
            before = wanted[asked]
            wanted[asked] = np.where(before.any(axis=1, keepdims=True), (said + before) / 2, said)
    return replace(pool, wanted=wanted)


def find_temperature(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> float:
    """The temperature under which the targets are most likely (Guo et al., ICML 2017), to three digits."""
    candidates = np.geomspace(0.2, 5.0, 400)
    losses = [metrics.entropy_loss(metrics.softmax(logits, t), targets) for t in candidates]
    return float(np.round(candidates[int(np.argmin(losses))], 3))


def find_offsets(logits: NDArray[np.float32], targets: NDArray[np.int64], decay: float) -> NDArray[np.float32]:
    """What to add to the logits (N, C) of each scene, (C,), so that rare and mistaken scenes come into their own.

    The least likelihood loss over the targets, a sample weighing 1 / sqrt(pictures of its scene), together with a
    temperature that is not kept, plus `decay` times the mean square of the offsets.
    """
    classes = logits.shape[1]
    x, y = torch.from_numpy(logits), torch.from_numpy(targets)
    weights = torch.bincount(y, minlength=classes).clamp_min(1).float().rsqrt()[y]
    weights /= weights.mean()
    offsets, sharpness = torch.zeros(classes, requires_grad=True), torch.zeros((), requires_grad=True)

    def loss() -> Tensor:
        losses = F.cross_entropy((x + offsets) * sharpness.exp(), y, reduction="none")
        return (losses * weights).mean() + decay * offsets.square().mean()

    minimise(loss, [offsets, sharpness], steps=100)
    return np.asarray(offsets.detach().numpy(), np.float32)


def find_threshold(known: NDArray[np.floating[Any]], known_share: float) -> float:
    """The largest value, to three digits, that at least `known_share` of `known` (N,) reach."""
    return float(np.floor(np.quantile(known, 1 - known_share) * 1000)) / 1000


def find_unknown(
    known: tuple[NDArray[np.float32], NDArray[np.float64]],
    strange: tuple[NDArray[np.float32], NDArray[np.float64]],
    kinds: Sequence[str],
) -> UnknownCalibration:
    """Weights of p(unknown): logistic regression on the network's logit of unknown and the entropy of its scenes.

    Half of the weight is on the known pictures, half on the strange ones, every kind of these alike.

    Args:
        known: logits (N,) and entropies (N,) of pictures of the scenes.
        strange: the same (M,) of pictures of none of them.
        kinds: M names.
    """
    names, kind, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    weights = np.concatenate([np.full(len(known[0]), 1 / len(known[0])), 1 / (len(names) * counts[kind])])
    x = np.concatenate([np.stack(known, axis=1), np.stack(strange, axis=1)])
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    y = np.concatenate([np.zeros(len(known[0])), np.ones(len(strange[0]))])
    w = np.zeros(3)
    for _ in range(_NEWTON_STEPS):  # Newton's method; the small ridge keeps it in place where the classes part cleanly
        p = 1 / (1 + np.exp(-x @ w))
        slope = x.T @ (weights * (p - y)) + _RIDGE * w
        bend = (x * (weights * p * (1 - p))[:, None]).T @ x + _RIDGE * np.eye(3)
        w -= np.linalg.solve(bend, slope)
    return UnknownCalibration(logit=round(w[0], 4), entropy=round(w[1], 4), bias=round(w[2], 4))


def _agreement(classes: NDArray[np.int32], teacher: NDArray[np.uint8]) -> float:
    """Share of the teacher's positions where the class map, enlarged to them, says the same."""
    larger = cv2.resize(classes.astype(np.uint8), teacher.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return float((larger == teacher).mean())
