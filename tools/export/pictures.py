"""Pictures that ranges are measured on and files are compared on: read when their turn comes, for they may be many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

from streamer.errors import SourceError
from streamer.frame import Picture
from streamer.sources._listing import find_pictures
from streamer.sources.images import read_picture
from tools.data.manifest import ManifestError, PictureManifest

__all__ = ["PictureFiles", "pictures_at", "pictures_to_calibrate"]


class PictureFiles(Sequence[Picture]):
    """Pictures (H×W×3 uint8 RGB) of files, each read when it is asked for; SourceError then says that one is none."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> PictureFiles: ...
    def __getitem__(self, index: int | slice) -> Picture | PictureFiles:
        return PictureFiles(self.paths[index]) if isinstance(index, slice) else read_picture(self.paths[index])

    def spread(self, limit: int) -> PictureFiles:
        """At most `limit` of them, evenly spread: lists go scene by scene."""
        return self[:: max(1, -(-len(self) // limit))]


def pictures_at(target: str) -> PictureFiles:
    """The pictures of a file, folder or glob.

    Raises:
        SourceError: there are none.
    """
    paths = find_pictures(target)
    if not paths:
        raise SourceError(f"no pictures at {target}; give a file, a folder or a glob of pictures")
    return PictureFiles(paths)


def pictures_to_calibrate(source: Path) -> PictureFiles:
    """The pictures of a manifest (CSV), never those that a result will be measured on, or of a folder.

    Raises:
        SourceError, ManifestError: there are none.
    """
    if source.suffix.lower() != ".csv":
        return pictures_at(str(source))
    manifest = PictureManifest.read(source)
    rows = [row for row, entry in enumerate(manifest.entries) if entry.split in ("", "train")]
    if not rows:
        raise ManifestError(f"{source} has no pictures of split train to calibrate on")
    return PictureFiles([manifest.path(row) for row in rows])
