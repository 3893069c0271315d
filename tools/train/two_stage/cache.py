"""Resized pictures and semantics on disk, decoded once: later epochs read no JPEG and no PNG.

A picture's file is an array (H, W, 3) uint8 RGB, that of its semantics (H, W, 6) uint8, three labels and three scores;
the short side is what crops are taken from. A file is written when it is first asked for, whole or not at all, so that
several processes and several runs may share a folder. Its name follows from the files it was made of and when they
changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.crops import CropPreprocess
from tools.data.manifest import ManifestError, PictureManifest
from tools.data.semantics import SemanticFiles

Pixels = NDArray[np.uint8]


class View(NamedTuple):
    """A resized picture and its semantics; None where the network does not take it."""

    picture: Pixels | None  # (H, W, 3) RGB
    maps: Pixels | None  # (H, W, 6): three labels, three scores

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        shown = self.maps if self.picture is None else self.picture
        assert shown is not None
        return shown.shape[0], shown.shape[1]


@dataclass(frozen=True)
class Pictures:
    """The resized pictures of a manifest, by row.

    Attributes:
        manifest: the pictures.
        crop: how they are resized.
        semantics: None where none are needed.
        needs_picture: whether the picture itself is needed.
        folder: the cache; None decodes every time.
    """

    manifest: PictureManifest
    crop: CropPreprocess
    semantics: SemanticFiles | None = None
    needs_picture: bool = True
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, row: int) -> View:
        """What is needed of picture `row`, perhaps mapped from a file and read-only.

        Raises:
            ManifestError: the picture or its semantics are missing or damaged.
        """
        picture = self._kept([self.manifest.path(row)], lambda: self._picture(row)) if self.needs_picture else None
        if self.semantics is None:
            return View(picture, None)
        files = [self.manifest.path(row), *self.semantics.paths(self.manifest.entries[row])]
        return View(picture, self._kept(files, lambda: self._maps(row)))

    def _kept(self, files: Sequence[Path], decode: Callable[[], Pixels]) -> Pixels:
        """From the cache, or decoded and put there."""
        if self.folder is None:
            return decode()
        text = repr([self.crop.short_side, *map(_stamp, files)])
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:40]
        file = self.folder / digest[:2] / f"{digest}.npy"
        stored = _stored(file)
        if stored is None:
            stored = decode()
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(f".{os.getpid()}.part")
            with part.open("wb") as stream:
                np.save(stream, stored)
            part.replace(file)
        return stored

    def _picture(self, row: int) -> Pixels:
        try:
            return self.crop.resized(self.manifest[row])
        except ValueError as error:
            raise ManifestError(f"{self.manifest.path(row)}: {error}; leave it out, or resize it") from error

    def _maps(self, row: int) -> Pixels:
        assert self.semantics is not None
        size = self.manifest[row].shape[:2]
        semantics = self.semantics.read(self.manifest.entries[row], (size[0], size[1]))
        return np.concatenate([plane.transpose(1, 2, 0) for plane in self.crop.resized_map(semantics)], axis=2)


def _stored(file: Path) -> Pixels | None:
    try:
        stored: Pixels = np.load(file, mmap_mode="r")
    except (ValueError, OSError, EOFError):  # not there, or cut short by a lost machine: make it anew
        return None
    return stored


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        state = file.stat()
    except OSError:  # reading it will say what is wrong; semantics of the older form have other names
        return str(file.absolute()), 0, 0
    return str(file.absolute()), state.st_size, state.st_mtime_ns
