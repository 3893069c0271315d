"""The pictures that `unknown` is measured with: made on demand out of the data folder, never kept in the project.

OUTPUT/unknowns.csv    path, kind, part, source: pictures that show none of the 18 scenes; written last of all
OUTPUT/known.csv       path, scene, part, source: pictures of ADE20K that show one of them
OUTPUT/<kind>/...      the pictures; `path` is relative to OUTPUT

The `tune` part is for training and for choosing a threshold, the `report` part for figures alone. The same data folder,
packages and seed give the same files.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2

from config.labels.scene_kinds import SceneKinds, load_scene_kinds
from tools.data.manifest import Entry, ManifestError, PictureManifest
from tools.data.unknown_clips import clip_frames, packaged_pictures
from tools.data.unknown_close_ups import close_ups, even_pieces
from tools.data.unknown_picture import Made, Picture
from tools.data.unknown_textures import plain_pictures, textures

TUNE, REPORT = PARTS = ("tune", "report")
KINDS = ("ade20k", "close_up", "texture", "video", "object", "easy")
REPORT_ONLY = ("video", "object")  # no picture of theirs is in the tune part
UNKNOWNS, KNOWN = "unknowns.csv", "known.csv"

_SPLITS = {"tune": "train", "report": "val"}
_QUALITY = 95
_ADE20K = "ade20k.csv"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many pictures of a part are made, by what they are made of."""

    close_ups: int = 300
    patterns: int = 210
    even_pieces: int = 90


class Row(NamedTuple):
    """A line of `unknowns.csv` or `known.csv`; `label` is the kind or the scene."""

    path: str
    label: str
    part: str
    source: str


def make_unknowns(root: Path, output: Path, seed: int = 0, counts: Counts | None = None) -> dict[str, dict[str, int]]:
    """Write the pictures and both tables; what an earlier call left there is replaced.

    Args:
        root: the data folder: scenes.csv, ade20k.csv and videos/ with what they name.
        output: a folder, made if need be.
        seed: of all that is left to chance.
        counts: how many pictures to make.

    Returns:
        Pictures by kind and part, and those of `known.csv` under "known".

    Raises:
        ManifestError: data that is missing, a picture that cannot be read or written, or an `output` with folders of
            the same names that hold something else.
    """
    ade20k = PictureManifest.read(root / _ADE20K, root, scene_column="ade20k_scene")
    kinds = load_scene_kinds()
    _prepare(output)
    made = _made(root, seed, counts or Counts())
    unknown = [*_copies(ade20k, kinds, output), *(_written(output, kind, part, one) for kind, part, one in made)]
    known = list(_known(ade20k, kinds, output))
    _write_table(output / KNOWN, "scene", known)
    _write_table(output / UNKNOWNS, "kind", unknown)
    found = Counter((row.label, row.part) for row in unknown) + Counter(("known", row.part) for row in known)
    return {kind: {part: found[kind, part] for part in PARTS} for kind in (*KINDS, "known")}


def part_of(path: str) -> str:
    """The part of a picture, "tune" or "report", by a hash of its path: as good as a coin, and always the same."""
    return PARTS[hashlib.sha256(path.encode()).digest()[0] % 2]


def part_in(table: Path, entry: Entry) -> str:
    """The part of a line of `table`: the second folder of its path.

    Raises:
        ManifestError: the path names no part.
    """
    pieces = Path(entry.path).parts
    if len(pieces) < 2 or pieces[1] not in PARTS:
        raise ManifestError(
            f"{table} line {entry.line}: {entry.path} is no path KIND/PART/NAME, PART {' or '.join(PARTS)}"
        )
    return pieces[1]


def _made(root: Path, seed: int, counts: Counts) -> Iterator[tuple[str, str, Made]]:
    """Kind, part and picture of all that is not copied."""
    for part, split in _SPLITS.items():
        scenes = PictureManifest.read(root / "scenes.csv", root, split)
        yield from (("close_up", part, one) for one in close_ups(scenes, counts.close_ups, seed))
        yield from (("texture", part, one) for one in textures(part, counts.patterns, seed))
        yield from (("texture", part, one) for one in even_pieces(scenes, counts.even_pieces, seed))
        yield from (("easy", part, one) for one in plain_pictures(part, seed))
    yield from (("video", "report", one) for one in clip_frames(root))
    yield from (("object", "report", one) for one in packaged_pictures())


def _copies(ade20k: PictureManifest, kinds: SceneKinds, output: Path) -> Iterator[Row]:
    for index, entry in enumerate(ade20k.entries):
        if entry.scene in kinds.unknown:
            part = part_of(entry.path)
            path = _copied(ade20k.path(index), output, f"ade20k/{part}")
            yield Row(path, "ade20k", part, f"ade20k:{entry.scene}")


def _known(ade20k: PictureManifest, kinds: SceneKinds, output: Path) -> Iterator[Row]:
    for index, entry in enumerate(ade20k.entries):
        if entry.scene in kinds.known:
            part = part_of(entry.path)
            path = _copied(ade20k.path(index), output, f"known/{part}")
            yield Row(path, kinds.known[entry.scene], part, f"ade20k:{entry.scene}")


def _copied(file: Path, output: Path, folder: str) -> str:
    path = f"{folder}/{file.name}"
    (output / folder).mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(file, output / path)
    except OSError as error:
        raise ManifestError(f"{file} cannot be copied to {output / path}: {error.strerror}") from error
    return path


def _written(output: Path, kind: str, part: str, made: Made) -> Row:
    # Plain pictures stay exact; the rest is JPEG as known pictures are, so that the format tells nothing.
    path = f"{kind}/{part}/{made.name}{'.png' if kind == 'easy' else '.jpg'}"
    (output / path).parent.mkdir(parents=True, exist_ok=True)
    _write_picture(output / path, made.picture)
    return Row(path, kind, part, made.source)


def _write_picture(file: Path, picture: Picture) -> None:
    settings = (cv2.IMWRITE_JPEG_QUALITY, _QUALITY) if file.suffix == ".jpg" else ()
    done, data = cv2.imencode(file.suffix, picture[:, :, ::-1], settings)
    if not done:
        raise ManifestError(f"{file} cannot be written as {file.suffix}")
    file.write_bytes(data.tobytes())


def _write_table(file: Path, label: str, rows: Iterable[Row]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("path", label, "part", "source"))
        writer.writerows(sorted(rows))


def _prepare(output: Path) -> None:
    """Empty the folders that this module fills, if it was this module that filled them."""
    folders = [output / name for name in (*KINDS, "known")]
    strangers = [folder.name for folder in folders if folder.exists() and not (output / KNOWN).is_file()]
    if strangers:
        raise ManifestError(f"{output} has a folder {strangers[0]!r} of something else; give another --output")
    output.mkdir(parents=True, exist_ok=True)
    # An empty table first, by which the rest of an interrupted call is known for its own; `UNKNOWNS` comes last of all.
    _write_table(output / KNOWN, "scene", ())
    (output / UNKNOWNS).unlink(missing_ok=True)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
