"""Training samples: which pictures an epoch takes, and what is done to each before the network sees it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from tools.data.manifest import Entry
from tools.train import augment
from tools.train.cache import PICTURE_SIDE, PictureCache
from tools.train.recipe import Augmentation
from tools.train.teacher import CLASSES, SIDE

NO_SCENE = -1  # target of a picture that teaches the segmentation only


class Sample(NamedTuple):
    """One picture to learn from; a batch has the same fields with a leading dimension."""

    picture: NDArray[np.uint8]  # (size, size, 3) RGB
    target: int  # scene, or NO_SCENE
    labels: NDArray[np.uint8]  # (64, 64, 3), the teacher's map of the whole picture
    scores: NDArray[np.uint8]  # (64, 64, 3)
    box: NDArray[np.float32]  # (4,) left, top, right, bottom of what was cut out, in positions of that map
    mirrored: bool


@dataclass(frozen=True)
class Pool:
    """Pictures that training draws from: rows of caches, with their scenes."""

    caches: tuple[PictureCache, ...]
    places: NDArray[np.int64]  # (N, 2): which cache, which row
    targets: NDArray[np.int64]  # (N,)


def dev_rows(entries: tuple[Entry, ...], share: float) -> NDArray[np.bool_]:
    """Which entries are set aside to select and calibrate on: (N,) bool, about `share` of each scene and source.

    Entries of one group stay together. The choice depends on names alone, so it never changes.
    """
    strata: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, entry in enumerate(entries):
        stratum = (entry.source, "" if entry.group else entry.scene)
        strata[stratum][entry.group or entry.path].append(row)
    chosen = np.zeros(len(entries), dtype=bool)
    for units in strata.values():
        names = sorted(units, key=lambda name: hashlib.sha256(name.encode()).digest())
        for name in names[: round(share * len(names))]:
            chosen[units[name]] = True
    return chosen


def epoch_order(targets: NDArray[np.int64], balance: float, count: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """Positions of `count` pictures to take: rarer scenes more often, (class size)^-balance; without a scene as is."""
    rng = np.random.default_rng(seed)
    _, inverse, sizes = np.unique(targets, return_inverse=True, return_counts=True)
    weights = (1.0 / sizes**balance)[inverse]
    scenes = targets != NO_SCENE
    if scenes.any():  # on average a picture weighs 1, so that those without a scene keep their share
        weights[scenes] /= weights[scenes].mean()
    weights[~scenes] = 1.0
    expected = count * weights / weights.sum()
    # Systematic sampling: every picture comes its expected number of times, rounded up or down.
    ticks = np.arange(count) + rng.random()
    shuffled = rng.permutation(len(targets))
    drawn = shuffled[np.minimum(np.searchsorted(np.cumsum(expected[shuffled]), ticks), len(targets) - 1)]
    return np.asarray(rng.permutation(drawn), dtype=np.int64)


class Samples(Dataset[Sample]):
    """One epoch's samples; sample i depends on (seed, epoch, i) alone, so a resumed run repeats them."""

    def __init__(
        self,
        pool: Pool,
        order: NDArray[np.int64],
        size: int,
        settings: Augmentation,
        palette: augment.Palette,
        seed: tuple[int, ...],
    ) -> None:
        self.pool = pool
        self.order = order
        self.size = size
        self.settings = settings
        self.palette = palette
        self.seed = seed

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((*self.seed, index))
        position = self.order[index]
        which, row = self.pool.places[position]
        cache = self.pool.caches[which]
        labels, scores = np.array(cache.labels[row]), np.array(cache.scores[row])
        rgb = self._colour(np.array(cache.pictures[row]), bool(cache.grey[row]), labels, scores, rng)
        box = augment.random_box(PICTURE_SIDE, self.settings, rng)
        rgb = augment.crop(rgb, box, self.size)
        mirrored = bool(rng.random() < 0.5)
        if mirrored:
            rgb = np.ascontiguousarray(rgb[:, ::-1])
        rgb = augment.jitter(rgb, self.settings.jitter, rng)
        if rng.random() < self.settings.degrade:
            rgb = augment.degrade(rgb, rng)
        place = np.array(box, dtype=np.float32) * (SIDE / PICTURE_SIDE)
        return Sample(rgb, int(self.pool.targets[position]), labels, scores, place, mirrored)

    def _colour(
        self,
        rgb: augment.Picture,
        grey: bool,
        labels: NDArray[np.uint8],
        scores: NDArray[np.uint8],
        rng: np.random.Generator,
    ) -> augment.Picture:
        if grey and rng.random() < self.settings.colourise:
            return augment.colourise(rgb, labels, scores, self.palette, rng)
        if not grey and rng.random() < self.settings.grey:
            rgb = augment.to_grey(rgb)
            grey = True
        return augment.tint(rgb, rng) if rng.random() < (0.4 if grey else 0.2) else rgb


def learn_palette(cache: PictureCache, rows: NDArray[np.int64], seed: int, pictures: int = 600) -> augment.Palette:
    """Collect the colours of classes from some of the colour pictures among `rows`."""
    coloured = rows[~cache.grey[rows]]
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(coloured)[:pictures])
    if not len(chosen):
        neutral = np.full((1, 2), 128, dtype=np.float32)
        return augment.Palette((neutral,) * CLASSES)
    found = np.stack([augment.chroma_of_classes(cache.pictures[r], cache.labels[r, ..., 0], CLASSES) for r in chosen])
    return augment.Palette(tuple(c[~np.isnan(c[:, 0])] for c in found.transpose(1, 0, 2)))
