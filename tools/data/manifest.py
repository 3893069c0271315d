"""One data set class for every table of pictures: a CSV file with the columns `path` and `scene`.

Further columns are optional: `split`, `source` (where a picture comes from) and `group` (pictures that belong together,
such as the rooms of one house, and must never be on both sides of a split).
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from config.errors import UserError

_ORIENTATION = 0x0112  # Exif tag; 5..8 swap width and height
_FIRST_TURNED = 5


class ManifestError(UserError):
    """A table of pictures, or a picture it names, that cannot be used; says the file, the line and the remedy."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a manifest."""

    line: int  # in the CSV file, the header being line 1
    path: str  # as written there
    scene: str
    split: str = ""
    source: str = ""
    group: str = ""


@dataclass(frozen=True)
class PictureManifest:
    """The pictures of a CSV file, in its order.

    Attributes:
        file: the CSV file, for messages.
        root: the folder that the paths start from.
        entries: the lines that were asked for.
        labels: the scenes in the order of the class index, where the data set has one of its own.
    """

    file: Path
    root: Path
    entries: tuple[Entry, ...]
    labels: tuple[str, ...] | None = None

    @classmethod
    def read(
        cls, file: Path, root: Path | None = None, split: str | None = None, scene_column: str = "scene"
    ) -> PictureManifest:
        """Read a manifest; `root` is its own folder unless given; `split` keeps one split only."""
        rows = _read_rows(file, ("path", scene_column, *(["split"] if split else [])))
        entries = [
            Entry(line, row["path"], row[scene_column], *(row.get(k) or "" for k in ("split", "source", "group")))
            for line, row in rows
        ]
        kept = tuple(e for e in entries if split is None or e.split == split)
        if not kept:
            known = ", ".join(sorted({e.split for e in entries})) or "none"
            raise ManifestError(f"{file} has no picture{f' of split {split!r} (splits: {known})' if split else ''}")
        return cls(file, file.parent if root is None else root, kept)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """The picture of entry `index`, (H, W, 3) uint8 RGB."""
        entry = self.entries[index]
        path = self.path(index)
        if not path.is_file():
            raise ManifestError(f"{self._where(entry)}: no picture at {path}; is --root right?")
        rgb = read_picture(path)
        if rgb is None:
            raise ManifestError(f"{self._where(entry)}: {path} is not a picture that can be read; remove the line")
        return rgb

    def path(self, index: int) -> Path:
        """Where the picture of entry `index` lies."""
        return self.root / self.entries[index].path

    def targets(self, labels: Sequence[str]) -> NDArray[np.int64]:
        """The scenes as positions in `labels`, (N,) int64."""
        position = {label: i for i, label in enumerate(labels)}
        for entry in self.entries:
            if entry.scene not in position:
                raise ManifestError(
                    f"{self._where(entry)}: unknown scene {entry.scene!r}; the model knows {', '.join(labels)}"
                )
        return np.array([position[e.scene] for e in self.entries], dtype=np.int64)

    def _where(self, entry: Entry) -> str:
        return f"{self.file} line {entry.line}"


def read_picture(path: Path) -> NDArray[np.uint8] | None:
    """Read a picture file as (H, W, 3) uint8 RGB; None if it cannot be decoded."""
    # imdecode rather than imread: it takes paths in any script on every system, and prints no warnings of its own.
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def picture_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of a picture file as `read_picture` gives it, from its header; None if it has none."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= _FIRST_TURNED
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _read_rows(file: Path, needed: Collection[str]) -> list[tuple[int, dict[str, str]]]:
    if not file.is_file():
        raise ManifestError(f"no manifest at {file}")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise ManifestError(f"{file} line 1: no column {missing[0]!r}; columns needed: {', '.join(needed)}")
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{file} is not a CSV file in UTF-8: {error}") from error
    for line, row in rows:
        if not all(row.get(name) for name in needed if name != "split"):
            raise ManifestError(f"{file} line {line}: {' and '.join(needed)} must not be empty")
    return rows
