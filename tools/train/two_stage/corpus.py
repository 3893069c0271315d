"""Which pictures a run trains on and which it is watched on."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.crops import CropPreprocess
from tools.data.layouts import find_layout, overlap, read_layout
from tools.data.manifest import Entry, ManifestError, PictureManifest
from tools.data.semantics import SemanticFiles
from tools.train.data import dev_rows
from tools.train.two_stage.recipe import Data

DEV = "dev"


@dataclass(frozen=True)
class Split:
    """Pictures and their scenes as positions in the labels, (N,) int64."""

    manifest: PictureManifest
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.manifest)


@dataclass(frozen=True)
class Corpus:
    """What a run learns from and is watched on, and how its networks see a picture."""

    labels: tuple[str, ...]
    train: Split
    watch: Split
    semantics: SemanticFiles
    crop: CropPreprocess
    notes: tuple[str, ...] = ()  # what should be said before the run


def load_corpus(data: Data, root: Path, semantics: Path | None = None) -> Corpus:
    """Read the lists that `data` names under `root`.

    Args:
        data: of the recipe.
        root: the folder of the data set.
        semantics: where the precomputed semantics are; else what the recipe says; else `root`.

    Raises:
        ManifestError: a list is missing or faulty, or a split is empty; says what was expected where.
    """
    layout = find_layout(data.layout) if data.layout else None
    whole = _read(data, data.train, root)
    if data.watch == DEV:
        chosen = dev_rows(whole.entries, data.dev_share)
        watch, train = (_only(whole, np.flatnonzero(rows)) for rows in (chosen, ~chosen))
    else:
        train, watch = whole, _read(data, data.watch, root)
    labels = whole.labels or tuple(sorted({entry.scene for entry in whole.entries}))
    train = _limited(train, data.per_scene_limit)
    watch = _limited(watch, data.watch_per_scene_limit)
    for name, split in (("train", train), (data.watch, watch)):
        if not len(split):
            raise ManifestError(f"{whole.file}: no picture is left for {name!r}; change dev_share or the splits")
    folder = semantics or (root / data.semantics if data.semantics else root)
    return Corpus(
        labels,
        Split(train, train.targets(labels)),
        Split(watch, watch.targets(labels)),
        SemanticFiles(folder, layout),
        CropPreprocess(short_side=layout.short_side if layout else data.short_side),
        _notes(data, root),
    )


def _read(data: Data, split: str, root: Path) -> PictureManifest:
    if data.layout:
        return read_layout(data.layout, root, split)
    assert data.manifest is not None
    return PictureManifest.read(root / data.manifest, root, split)


def _only(manifest: PictureManifest, rows: NDArray[np.int64]) -> PictureManifest:
    return dataclasses.replace(manifest, entries=tuple(manifest.entries[row] for row in rows))


def _limited(manifest: PictureManifest, limit: int | None) -> PictureManifest:
    """At most `limit` pictures of every scene; which ones depends on their paths alone, so it never changes."""
    if limit is None:
        return manifest
    by_scene: dict[str, list[int]] = defaultdict(list)
    for row, entry in enumerate(manifest.entries):
        by_scene[entry.scene].append(row)
    kept = []
    for rows in by_scene.values():
        kept += sorted(rows, key=lambda row: _lot(manifest.entries[row]))[:limit]
    return _only(manifest, np.sort(np.array(kept, dtype=np.int64)))


def _lot(entry: Entry) -> bytes:
    return hashlib.sha256(entry.path.encode("utf-8", "surrogateescape")).digest()


def _notes(data: Data, root: Path) -> tuple[str, ...]:
    found = overlap(data.layout, root) if data.layout and {data.train, data.watch} == {"train", "val"} else None
    if not found:
        return ()
    return (
        f"warning: the lists of {data.layout} name {found.shared} pictures in both splits, so what is measured on "
        f"{data.watch} is no accuracy; put one of the official partitions into train.txt and val.txt",
    )
