"""What the packaged model learns from: pictures of the scenes, pictures of none of them, pictures to segment alone.

All pictures are decoded once and segmented by the teacher (`cache.py`), manifest by manifest. Besides the table of
scenes there are, where the recipe asks for them:
`unknowns`: the tune part of the pictures that `tools.data.unknowns` makes, and of the ADE20K pictures that show one of
the scenes; the report part is never seen. `CALIBRATION_SHARE` of the strange ones is kept from training, to find out
how surprised the trained network is by what it never saw. Where training shows parts that things fill, those of dev's
pictures are a kind of them.
`pictures`: globs of further pictures that teach the segmentation alone.
`views`: other views of the pictures to train on, each segmented by the teacher as it is: a class map cut out of the
whole picture's is not what the teacher says of the part, nor is the mirrored one what it says of the mirrored picture.
`taught_masks`: a folder of pictures with masks made by hand, which teach the segmentation better than the teacher can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tools.data.manifest import Entry, ManifestError, PictureManifest
from tools.data.unknowns import KNOWN, TUNE, UNKNOWNS, make_unknowns, part_in, part_of
from tools.train.augment import crop, random_box, things_box
from tools.train.cache import PICTURE_SIDE, PictureCache, View, build_cache
from tools.train.cross_fit import cross_fit
from tools.train.data import NO_SCENE, UNKNOWN, Pool, cut_map, dev_rows
from tools.train.masks import corrected
from tools.train.recipe import Augmentation, Recipe
from tools.train.teacher import SIDE

Say = Callable[[str], None]
Rows = np.ndarray[Any, np.dtype[np.int64]]

CALIBRATION_SHARE = 0.3
_VIEWS = Augmentation(scale=(0.5, 1.0), ratio=(0.7, 1.4))  # how much of a picture a view shows


@dataclass(frozen=True)
class Corpus:
    """Everything a run learns from and is selected on.

    Attributes:
        pool: what training draws from.
        scenes: the pictures of the table of scenes; `train`, `dev` and `val` are rows of it, `targets` their scenes.
        strange: pictures of none of the scenes that are kept to calibrate `unknown`, and `strange_kinds` of each.
    """

    pool: Pool
    scenes: PictureCache
    targets: Rows
    train: Rows
    dev: Rows
    val: Rows
    strange: PictureCache | None = None
    strange_kinds: tuple[str, ...] = ()


def load_corpus(recipe: Recipe, root: Path, folder: Path, say: Say) -> Corpus:
    """Read the manifests, fill the caches in `folder`, set dev and the strange pictures for calibration aside.

    Raises:
        ManifestError: a table is missing or faulty, or names a picture that cannot be read.
    """
    manifest = PictureManifest.read(root / recipe.data.scenes, root)
    scenes = _cached(manifest, root, recipe, folder / "scenes", say)
    targets = manifest.targets(recipe.labels)
    dev, train, val = _split(manifest.entries, recipe.data.dev_share)
    parts = _Parts(len(recipe.labels))
    wanted = np.zeros((len(train), len(recipe.labels)), np.float32)
    if recipe.loss.distillation:
        groups = [manifest.entries[row].group or manifest.entries[row].path for row in train]
        wanted = cross_fit(scenes, train, targets[train], groups, recipe, folder / "cross_fit.npy", say)
    parts.add(scenes, train, targets[train], wanted)
    views = tuple(
        _teach(_views(manifest, train, number, recipe.seed), root, recipe, folder / f"views-{number}", say)
        for number in range(recipe.views())
    )
    strange, kinds = None, ()
    if recipe.data.unknowns:
        strange, kinds = _add_unknowns(parts, recipe, root, folder, say)
        if recipe.shows_things():
            things = things_of(scenes, dev, recipe.seed)
            strange, kinds = _together(strange, things), (*kinds, *["things"] * len(things.grey))
    if recipe.data.pictures:
        more = _listed(root, recipe.data.pictures)
        parts.add(_cached(more, root, recipe, folder / "pictures", say), np.arange(len(more)))
    if recipe.data.taught_masks:
        _add_masks(parts, recipe, root, folder, say)
    return Corpus(replace(parts.pool(), views=views), scenes, targets, train, dev, val, strange, kinds)


class _Parts:
    """Collects the parts of a pool."""

    def __init__(self, scenes: int) -> None:
        self._scenes = scenes
        self._caches: list[PictureCache] = []
        self._places: list[Rows] = []
        self._targets: list[Rows] = []
        self._wanted: list[np.ndarray[Any, np.dtype[np.float32]]] = []

    def add(
        self,
        cache: PictureCache,
        rows: Rows,
        targets: Rows | None = None,
        wanted: np.ndarray[Any, np.dtype[np.float32]] | None = None,
    ) -> None:
        """Take these rows of a cache; without `targets` they teach the segmentation alone."""
        self._places.append(np.stack([np.full_like(rows, len(self._caches)), rows], axis=1))
        self._caches.append(cache)
        self._targets.append(np.full_like(rows, NO_SCENE) if targets is None else targets)
        self._wanted.append(np.zeros((len(rows), self._scenes), np.float32) if wanted is None else wanted)

    def pool(self) -> Pool:
        """All that was taken."""
        columns = (self._places, self._targets, self._wanted)
        places, targets, wanted = (np.concatenate(column) for column in columns)
        return Pool(tuple(self._caches), places, targets, wanted)


def _add_unknowns(
    parts: _Parts, recipe: Recipe, root: Path, folder: Path, say: Say
) -> tuple[PictureCache, tuple[str, ...]]:
    """Add the pictures of none of the scenes, and those of ADE20K; what is kept for calibration is given back."""
    made = folder / "unknowns"
    if not (made / UNKNOWNS).exists():
        say(f"making the pictures of none of the scenes in {made}")
        make_unknowns(root, made)
    strange = PictureManifest.read(made / UNKNOWNS, made, scene_column="kind")
    cache = _cached(strange, root, recipe, folder / "strange", say)
    tune = np.array([part_in(made / UNKNOWNS, entry) == TUNE and entry.scene != "easy" for entry in strange.entries])
    kept = tune & np.array([_lot(entry.path) < CALIBRATION_SHARE for entry in strange.entries])
    rows = np.flatnonzero(tune & ~kept)
    parts.add(cache, rows, np.full_like(rows, UNKNOWN))
    known = PictureManifest.read(made / KNOWN, made)
    rows = np.flatnonzero([part_in(made / KNOWN, entry) == TUNE for entry in known.entries])
    parts.add(_cached(known, root, recipe, folder / "known", say), rows, known.targets(recipe.labels)[rows])
    kinds = tuple(strange.entries[row].scene for row in np.flatnonzero(kept))
    return _rows_of(cache, np.flatnonzero(kept)), kinds


def things_of(cache: PictureCache, rows: Rows, seed: int) -> PictureCache:
    """The parts that things fill (`augment.things_box`) of those of the pictures `rows` that have one."""
    parts = []
    for row in rows:
        box = things_box(PICTURE_SIDE, cache.labels[row, ..., 0], np.random.default_rng((seed, row)))
        if box is not None:
            maps = (cut_map(np.array(of[row]), box, SIDE, False) for of in (cache.labels, cache.scores))
            parts.append((crop(np.array(cache.pictures[row]), box, PICTURE_SIDE), cache.grey[row], *maps))
    if not parts:
        return _rows_of(cache, rows[:0])
    return PictureCache(*(np.stack(column) for column in zip(*parts, strict=True)))


def _together(first: PictureCache, second: PictureCache) -> PictureCache:
    names = [field.name for field in fields(PictureCache)]
    return PictureCache(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names))


def _add_masks(parts: _Parts, recipe: Recipe, root: Path, folder: Path, say: Say) -> None:
    """Add pictures with masks made by hand, for the segmentation alone."""
    manifest = _listed(root, [f"{recipe.data.taught_masks}/*.jpg"])
    cache = _cached(manifest, root, recipe, folder / "masks", say)
    maps = [corrected(manifest.path(i), cache.labels[i], cache.scores[i]) for i in range(len(manifest))]
    labels, scores = (np.stack(column) for column in zip(*maps, strict=True))
    rows = np.tile(np.arange(len(manifest)), recipe.data.mask_repeats)
    parts.add(PictureCache(cache.pictures, cache.grey, labels, scores), rows)


def _rows_of(cache: PictureCache, rows: Rows) -> PictureCache:
    return PictureCache(cache.pictures[rows], cache.grey[rows], cache.labels[rows], cache.scores[rows])


def _listed(root: Path, patterns: Sequence[str]) -> PictureManifest:
    """Pictures by globs under the root, without masks; those of ADE20K's report part are left out."""
    found = sorted({path for pattern in patterns for path in root.glob(pattern)})
    names = [path.relative_to(root).as_posix() for path in found]
    entries = [
        Entry(0, name, "")
        for name in names
        if not Path(name).stem.endswith("_mask") and (not name.startswith("ade20k/") or part_of(name) == TUNE)
    ]
    if not entries:
        raise ManifestError(f"{root} has no pictures {' or '.join(patterns)}; is --root right?")
    return PictureManifest(root, root, tuple(entries))


def _cached(manifest: PictureManifest, root: Path, recipe: Recipe, folder: Path, say: Say) -> PictureCache:
    return _teach([View(manifest.path(i)) for i in range(len(manifest))], root, recipe, folder, say)


def _views(manifest: PictureManifest, rows: Rows, number: int, seed: int) -> list[View]:
    """One more view of each of some pictures: the first is the whole picture mirrored, others are parts of it."""
    if number == 0:
        return [View(manifest.path(row), mirrored=True) for row in rows]
    views = []
    for row in rows:
        rng = np.random.default_rng((seed, number, row))
        left, top, right, bottom = (edge / PICTURE_SIDE for edge in random_box(PICTURE_SIDE, _VIEWS, rng))
        views.append(View(manifest.path(row), (left, top, right, bottom), bool(rng.random() < 0.5)))
    return views


def _teach(views: Sequence[View], root: Path, recipe: Recipe, folder: Path, say: Say) -> PictureCache:
    """Decode pictures and ask the teacher about them, or take what is in `folder` already."""

    def report(what: str, done: int, total: int) -> None:
        if done % 10 == 0 or done == total:
            say(f"{folder.name}: {what} {done}/{total}")

    return build_cache(views, folder, root / recipe.data.teacher, report=report)


def _split(entries: tuple[Entry, ...], dev_share: float) -> tuple[Rows, Rows, Rows]:
    """Rows of dev, train without dev, and val."""
    train = np.flatnonzero([e.split == "train" for e in entries])
    chosen = dev_rows(tuple(entries[i] for i in train), dev_share)
    return train[chosen], train[~chosen], np.flatnonzero([e.split == "val" for e in entries])


def _lot(name: str) -> float:
    """A number in 0..1 that depends on the name alone; not the byte that decides about the part."""
    return hashlib.sha256(name.encode()).digest()[1] / 256
