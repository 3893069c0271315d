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
MAP_STRIDE = 4  # pixels of a training picture that a position of its class map stands for
UNKNOWN = -2  # target of a picture that shows none of the scenes


class Sample(NamedTuple):
    """One picture to learn from; a batch has the same fields with a leading dimension."""

    picture: NDArray[np.uint8]  # (size, size, 3) RGB
    target: int  # scene, NO_SCENE or UNKNOWN
    wanted: NDArray[np.float32]  # (C,) what another network says of the scenes; zeros where it was not asked
    labels: NDArray[np.uint8]  # (size / 4, size / 4, 3), the teacher's three best classes at each position
    scores: NDArray[np.uint8]  # the same shape


@dataclass(frozen=True)
class Pool:
    """Pictures that training draws from: rows of caches, with their scenes.

    wanted: (N, C) float32, what a network that never learnt from a picture says of its scene; rows of zeros where none
        was asked.
    views: other views of the first V pictures, each (V, ...) as the teacher saw them.
    """

    caches: tuple[PictureCache, ...]
    places: NDArray[np.int64]  # (N, 2): which cache, which row
    targets: NDArray[np.int64]  # (N,)
    wanted: NDArray[np.float32]
    views: tuple[PictureCache, ...] = ()


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
    scenes = targets >= 0
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
        target = int(self.pool.targets[position])
        if self.settings.plain and rng.random() < self.settings.plain:  # without it, samples are drawn as ever
            return self._plain(position, target, rng)
        labels, scores = np.array(cache.labels[row]), np.array(cache.scores[row])
        no_scene = self._no_scene(labels[..., 0], rng) if target >= 0 else None
        rgb = self._colour(np.array(cache.pictures[row]), bool(cache.grey[row]), labels, scores, rng)
        box = no_scene or augment.random_box(PICTURE_SIDE, self.settings, rng)
        rgb = augment.crop(rgb, box, self.size)
        mirrored = bool(rng.random() < 0.5)
        if mirrored:
            rgb = np.ascontiguousarray(rgb[:, ::-1])
        rgb = augment.jitter(rgb, self.settings.jitter, rng)
        if rng.random() < self.settings.degrade:
            rgb = augment.degrade(rgb, rng, self.settings.degrade_strength)
        target = UNKNOWN if no_scene else target
        labels, scores = (cut_map(values, box, self.size // MAP_STRIDE, mirrored) for values in (labels, scores))
        return Sample(rgb, target, self.pool.wanted[position], labels, scores)

    def _no_scene(self, classes: NDArray[np.uint8], rng: np.random.Generator) -> augment.Box | None:
        """A part of a picture that shows no scene any more, as often as the settings say."""
        if rng.random() < self.settings.close_up:
            return augment.close_up_box(PICTURE_SIDE, rng)
        if self.settings.things and rng.random() < self.settings.things:
            return augment.things_box(PICTURE_SIDE, classes, rng)
        return None

    def _plain(self, position: int, target: int, rng: np.random.Generator) -> Sample:
        """A picture as the teacher saw it, or one of its other views, which are all as likely."""
        which, row = self.pool.places[position]
        seen = [(self.pool.caches[which], row)]
        seen += [(view, position) for view in self.pool.views[: self.settings.views] if position < len(view.grey)]
        cache, row = seen[int(rng.integers(len(seen)))]
        whole = (0, 0, PICTURE_SIDE, PICTURE_SIDE)
        rgb = augment.crop(np.array(cache.pictures[row]), whole, self.size)
        side = self.size // MAP_STRIDE
        labels, scores = (cut_map(np.array(of[row]), whole, side, False) for of in (cache.labels, cache.scores))
        return Sample(rgb, target, self.pool.wanted[position], labels, scores)

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


def cut_map(values: NDArray[np.uint8], box: augment.Box, side: int, mirrored: bool) -> NDArray[np.uint8]:
    """What a map (SIDE, SIDE, K) of the whole picture has, nearest, at the positions of a part of it, (side, side, K).

    Args:
        values: the map.
        box: the part, in pixels of the cached picture.
        side: positions that the part is scaled to.
        mirrored: the part is mirrored after it was cut out.
    """
    left, top, right, bottom = (edge * SIDE / PICTURE_SIDE for edge in box)
    steps = (np.arange(side) + 0.5) / side
    rows = np.minimum(top + steps * (bottom - top), SIDE - 1).astype(int)
    columns = np.minimum(left + steps * (right - left), SIDE - 1).astype(int)
    return np.ascontiguousarray(values[rows[:, None], columns[::-1] if mirrored else columns])


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
