"""`PictureSegmenter`: a segmenter with its scaling and normalisation, from a picture to class probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from models.encoding import LabelBase, SemanticMap, top3
from models.prediction import FloatArray

Picture = NDArray[np.uint8]


class PictureSegmenter(ABC):
    """Names what is seen at each pixel of a picture. Belongs to one thread at a time.

    Attributes:
        name: as it was asked for.
        sha256: of its weights; None where they have no file of their own.
        class_ids: ADE20K id (1..150, 0 for none of them) of each of the K channels.
        device: what it runs on.
    """

    name: str
    sha256: str | None
    class_ids: tuple[int, ...]
    device: str

    @abstractmethod
    def probabilities(self, picture: Picture, size: tuple[int, int] | None = None) -> FloatArray:
        """(K, h, w) float32 over the whole picture (H×W×3 uint8 RGB); (h, w) is `size`, or the picture's own."""

    def encode(self, picture: Picture, base: LabelBase = LabelBase.ZERO) -> SemanticMap:
        """The three best classes of every pixel, at the picture's own size, as the files of the reference hold them."""
        return top3(self.probabilities(picture), self.class_ids, base)
