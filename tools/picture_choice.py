"""Which pictures of a manifest count: without those that a file names, or only some, evenly spread."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from tools.data.manifest import ManifestError, PictureManifest

PATH_COLUMN = "path"


def leave_out(pictures: PictureManifest, file: Path) -> PictureManifest:
    """`pictures` less those whose path stands in the column `path` of the CSV file `file`.

    Paths there that are none of the manifest's do no harm.

    Raises:
        ManifestError: there is no such file or column, or no picture is left.
    """
    named = _paths(file)
    kept = tuple(entry for entry in pictures.entries if entry.path not in named)
    if not kept:
        raise ManifestError(f"{file} names all {len(pictures)} pictures that were asked for of {pictures.file}")
    return replace(pictures, entries=kept)


def evenly_spread(pictures: PictureManifest, limit: int | None) -> PictureManifest:
    """At most `limit` of `pictures`, evenly spread over the list, in its order; all of them without a limit."""
    if limit is None or limit >= len(pictures):
        return pictures
    # Lists go scene by scene: the first ones would be of one scene.
    chosen = np.linspace(0, len(pictures) - 1, limit).round().astype(int)
    return replace(pictures, entries=tuple(pictures.entries[i] for i in chosen))


def _paths(file: Path) -> set[str]:
    if not file.is_file():
        raise ManifestError(f"no list of pictures to leave out at {file}")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if PATH_COLUMN not in (reader.fieldnames or ()):
                raise ManifestError(f"{file} line 1: no column {PATH_COLUMN!r}, which names the pictures to leave out")
            return {row[PATH_COLUMN] for row in reader if row[PATH_COLUMN]}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{file} is not a CSV file in UTF-8: {error}") from error
