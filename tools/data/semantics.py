"""Semantics on disk, as the reference has them: two PNGs a picture, three classes of every pixel and their scores.

    FOLDER/noisy_annotations_RGB/<path of the picture>.png    labels; R, G, B are the best, the second, the third class
    FOLDER/noisy_scores_RGB/<path of the picture>.png         round(255 p), in the same order

Older releases have one channel, the best class alone, in `noisy_annotations` and `noisy_scores`. What wrote the files
and the base of the labels stand in text chunks of the PNGs that are written here; released files have none.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from models.encoding import LabelBase, SemanticMap
from streamer.files import PendingFile, output_errors
from tools.data.layouts import Layout
from tools.data.manifest import Entry, ManifestError

LABELS_FOLDER, SCORES_FOLDER = "noisy_annotations_RGB", "noisy_scores_RGB"
OLD_LABELS_FOLDER, OLD_SCORES_FOLDER = "noisy_annotations", "noisy_scores"
# Keys of the text chunks.
BASE_KEY, SEGMENTER_KEY, SHA256_KEY, SCALES_KEY = "LabelBase", "Segmenter", "SegmenterSha256", "Scales"

_HIGHEST_LABEL = 150  # in base 1; in base 0 it is 149
_COMPRESSION = 3  # zlib level: 6 takes twice as long for files a few per cent smaller


@dataclass(frozen=True)
class SemanticFiles:
    """The semantics of a data set.

    Attributes:
        folder: ROOT of the data set, or wherever they were written.
        layout: of a public data set; None for the pictures of a CSV file.
        notes: what to write into the PNGs beside the label base: what made them.
    """

    folder: Path
    layout: Layout | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    def paths(self, entry: Entry) -> tuple[Path, Path]:
        """Where the labels and the scores of a picture are written.

        Raises:
            ManifestError: the picture's path leads out of its root.
        """
        relative = self._relative(entry)
        return self.folder / LABELS_FOLDER / relative, self.folder / SCORES_FOLDER / relative

    def written_folders(self) -> tuple[Path, Path]:
        """The folders that files are written into."""
        return self.folder / LABELS_FOLDER, self.folder / SCORES_FOLDER

    def is_written(self, entry: Entry) -> bool:
        """Whether both files are there, in three channels."""
        return all(path.is_file() for path in self.paths(entry))

    def exists(self, entry: Entry) -> bool:
        """Whether both files are there, in three channels or in the older form."""
        return self._found(entry) is not None

    def read(self, entry: Entry, picture_size: tuple[int, int] | None = None) -> SemanticMap:
        """The semantics of a picture, checked.

        Args:
            entry: the picture.
            picture_size: its (height, width); None takes any.

        Returns:
            labels and scores, both (3, H, W) uint8. One-channel files are repeated three times, which scatters to the
            same tensor.

        Raises:
            ManifestError: a file is missing, damaged, of another size, or no such PNG; says which and what to do.
        """
        found = self._found(entry)
        if found is None:
            missing = next(path for path in self.paths(entry) if not path.is_file())
            raise ManifestError(
                f"no semantics for {entry.path}: {missing} is missing; write them with `scene-streamer precompute`, "
                "or say where they are"
            )
        labels, label_note = _read_png(found[0], picture_size)
        scores, score_note = _read_png(found[1], picture_size)
        _check_labels(found[0], labels, label_note)
        if labels.shape != scores.shape or label_note != score_note:
            raise ManifestError(f"{found[1]} was not made together with {found[0]}; {_REMEDY}")
        return SemanticMap(labels, scores)

    def note(self, entry: Entry) -> dict[str, str]:
        """What the label PNG of a picture says about itself; empty for the released files.

        Raises:
            ManifestError: it is missing or no PNG.
        """
        found = self._found(entry)
        return {} if found is None else _read_png_note(found[0])

    def write(self, entry: Entry, semantics: SemanticMap, base: LabelBase) -> None:
        """Write both files of a picture, each whole or not at all.

        Raises:
            OutputError: they cannot be written.
        """
        notes = {BASE_KEY: str(int(base)), **self.notes}
        for path, planes in zip(self.paths(entry), semantics, strict=True):
            _write_png(path, planes, notes)

    def _relative(self, entry: Entry) -> PurePosixPath:
        path = PurePosixPath(entry.path)
        parts = path.parts[1:] if path.is_absolute() else path.parts
        if ".." in parts:
            raise ManifestError(f"{entry.path} leads out of its folder; write paths without '..'")
        if self.layout is not None and self.layout.bare and parts[0] == self.layout.bare:
            parts = parts[1:]
        return PurePosixPath(*parts).with_suffix(".png")

    def _found(self, entry: Entry) -> tuple[Path, Path] | None:
        relative = self._relative(entry)
        for folders in ((LABELS_FOLDER, SCORES_FOLDER), (OLD_LABELS_FOLDER, OLD_SCORES_FOLDER)):
            labels, scores = (self.folder / folder / relative for folder in folders)
            if labels.is_file() and scores.is_file():
                return labels, scores
        return None


# What Pillow raises on a damaged PNG.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
_REMEDY = "delete it and run `scene-streamer precompute` again, or download it again"


def label_base_of(note: Mapping[str, str]) -> LabelBase | None:
    """The base that a PNG's text chunk states; None where it states none."""
    return {"0": LabelBase.ZERO, "1": LabelBase.ONE}.get(note.get(BASE_KEY, ""))


def _read_png(path: Path, size: tuple[int, int] | None) -> tuple[NDArray[np.uint8], dict[str, str]]:
    """Pixels (3, H, W) uint8 and the text chunks."""
    with _opened(path) as image:
        if image.mode not in ("RGB", "L", "P"):
            raise ManifestError(f"{path} is a PNG of mode {image.mode}, not 8-bit RGB (or one channel); {_REMEDY}")
        if size is not None and (image.height, image.width) != size:
            raise ManifestError(
                f"{path} is {image.width}x{image.height}, its picture {size[1]}x{size[0]}: they do not belong "
                "together; precompute it again from this picture"
            )
        note = _text(image)
        pixels = np.asarray(image, np.uint8)
    if pixels.ndim == 2:
        return np.stack([pixels] * 3), note
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), note


def _read_png_note(path: Path) -> dict[str, str]:
    try:
        with Image.open(path, formats=("PNG",)) as image:  # no further than the text: a note is asked for often
            return _text(image)
    except _UNREADABLE as error:
        raise ManifestError(f"{path} is damaged ({error}); {_REMEDY}") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        content = io.BytesIO(path.read_bytes())
        # Checksums and the end of the file, neither of which matters to the decoder; it leaves the image closed.
        Image.open(content, formats=("PNG",)).verify()
        content.seek(0)
        with Image.open(content, formats=("PNG",)) as image:
            yield image
    except _UNREADABLE as error:
        raise ManifestError(f"{path} is damaged ({error}); {_REMEDY}") from error


def _text(image: Image.Image) -> dict[str, str]:
    return {key: text for key, text in image.info.items() if isinstance(key, str) and isinstance(text, str)}


def _check_labels(path: Path, labels: NDArray[np.uint8], note: Mapping[str, str]) -> None:
    highest = int(labels.max())
    if highest > _HIGHEST_LABEL:
        raise ManifestError(f"{path} has the label {highest}; labels are 0..150: is this the PNG of scores?")
    if highest == _HIGHEST_LABEL and label_base_of(note) is LabelBase.ZERO:
        raise ManifestError(f"{path} says that its labels start at 0, but has the label 150; {_REMEDY}")


def _write_png(path: Path, planes: NDArray[np.uint8], notes: Mapping[str, str]) -> None:
    text = PngImagePlugin.PngInfo()
    for key, value in notes.items():
        text.add_text(key, value)
    file = PendingFile(path)
    try:
        with output_errors(path):
            image = Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))
            image.save(file.path, format="PNG", pnginfo=text, compress_level=_COMPRESSION)
        file.commit()
    finally:
        file.discard()
