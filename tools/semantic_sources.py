"""Where evaluation has the semantics of a picture from: files, a segmenter, or nowhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np

from models.crops import CropPreprocess
from models.encoding import LabelBase, SemanticMap, exact_top3
from models.segmentation import Picture, PictureSegmenter
from tools.data.manifest import ManifestError, PictureManifest
from tools.data.semantics import BASE_KEY, SemanticFiles

_HIGHEST = 150  # a label that only base 1 has


class SemanticSource(ABC):
    """Gives the semantics of pictures at the size that crops are taken from; may be asked by several threads."""

    @abstractmethod
    def resized(self, pictures: PictureManifest, index: int, picture: Picture, crop: CropPreprocess) -> SemanticMap:
        """Labels and scores (3, h, w) that go with `crop.resized(picture)`; scores uint8, or float32 in 0..1.

        Raises:
            ManifestError: there are none; says what is wrong.
        """

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """What the semantics were, ready for JSON."""

    def check(self, pictures: PictureManifest) -> None:  # noqa: B027 - most have nothing to check
        """Raise a ManifestError before the work begins, if it cannot succeed."""


class NoSemantics(SemanticSource):
    """For networks, or branches, that look at the picture alone: scores of 0."""

    def resized(self, pictures: PictureManifest, index: int, picture: Picture, crop: CropPreprocess) -> SemanticMap:  # noqa: ARG002
        """See `SemanticSource.resized`."""
        nothing = np.zeros((3, *crop.resized(picture).shape[:2]), np.uint8)
        return SemanticMap(nothing, nothing)

    def description(self) -> dict[str, Any]:
        """See `SemanticSource.description`."""
        return {"source": "none"}


class StoredSemantics(SemanticSource):
    """Precomputed files.

    Args:
        files: where they lie.
        base: the label base that they must have, if they say; None takes any.
    """

    def __init__(self, files: SemanticFiles, base: LabelBase | None = None) -> None:
        self._files = files
        self._base = base
        self._notes: Counter[tuple[tuple[str, str], ...]] = Counter()
        self._highest = 0

    def check(self, pictures: PictureManifest) -> None:
        """See `SemanticSource.check`."""
        missing = [entry for entry in pictures.entries if not self._files.exists(entry)]
        if missing:
            raise ManifestError(
                f"{len(missing)} of {len(pictures)} pictures have no semantics under {self._files.folder}, the first "
                f"is {self._files.paths(missing[0])[0]}; write them with `scene-streamer precompute`, or segment on "
                "the fly with --semantics SEGMENTER"
            )

    def resized(self, pictures: PictureManifest, index: int, picture: Picture, crop: CropPreprocess) -> SemanticMap:
        """See `SemanticSource.resized`."""
        entry = pictures.entries[index]
        semantics = self._files.read(entry, picture.shape[:2])
        note = self._files.note(entry)
        stated = note.get(BASE_KEY)
        if self._base is not None and stated is not None and stated != str(int(self._base)):
            raise ManifestError(
                f"{self._files.paths(entry)[0]} says that its labels start at {stated}, not {int(self._base)}; leave "
                f"--label-base out, or precompute with --label-base {int(self._base)} into another folder"
            )
        self._notes[tuple(sorted(note.items()))] += 1
        self._highest = max(self._highest, int(semantics.labels.max()))
        return crop.resized_map(semantics)

    def description(self) -> dict[str, Any]:
        """See `SemanticSource.description`."""
        notes = [{"pictures": count, **dict(note)} for note, count in sorted(self._notes.items())]
        bases = {dict(note).get(BASE_KEY, "not stated") for note in self._notes}
        seen = "1" if self._highest == _HIGHEST and bases == {"not stated"} else None
        base = seen or (bases.pop() if len(bases) == 1 else "mixed")
        return {"source": "files", "folder": str(self._files.folder), "label_base": base, "made_by": notes}


class FreshSemantics(SemanticSource):
    """Segments each picture when it is asked for.

    Args:
        segmenters: as many as threads may segment at once.
        base: of the labels.
        notes: what the segmenter is, for the description.
        rounded: scores in 8 bits, as files have them; False keeps them as they are.
    """

    def __init__(
        self, segmenters: Sequence[PictureSegmenter], base: LabelBase, notes: dict[str, str], rounded: bool = True
    ) -> None:
        self._idle: SimpleQueue[PictureSegmenter] = SimpleQueue()
        for segmenter in segmenters:
            self._idle.put(segmenter)
        self._base = base
        self._notes = notes
        self._rounded = rounded

    def resized(self, pictures: PictureManifest, index: int, picture: Picture, crop: CropPreprocess) -> SemanticMap:
        """See `SemanticSource.resized`."""
        segmenter = self._idle.get()
        try:
            if self._rounded:
                return crop.resized_map(segmenter.encode(picture, self._base))
            return crop.resized_map(exact_top3(segmenter.probabilities(picture), segmenter.class_ids, self._base))
        except ValueError as error:
            raise ManifestError(f"{pictures.path(index)} cannot be segmented: {error}") from error
        finally:
            self._idle.put(segmenter)

    def description(self) -> dict[str, Any]:
        """See `SemanticSource.description`."""
        scores = "8 bit" if self._rounded else "float"
        return {"source": "segmenter", "label_base": str(int(self._base)), "scores": scores, "made_by": self._notes}
