"""`PictureSegmenter`: a segmenter with its scaling and normalisation, from a picture to class probabilities.

`load_segmenter` makes one from its name. torch, slow to import, is loaded only then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.encoding import LabelBase, SemanticMap, top3
from models.prediction import FloatArray

__all__ = ["Picture", "PictureSegmenter", "load_segmenter"]

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

    def lane(self) -> PictureSegmenter:
        """Another segmenter over the same networks, for a thread of its own.

        Itself, unless a kind says otherwise: many keep nothing from one call to the next.
        """
        return self


def load_segmenter(
    name: str, *, device: str = "auto", threads: int | None = None, short_sides: Sequence[int] | None = None
) -> PictureSegmenter:
    """Load a segmenter and make it ready to run.

    Args:
        name: a model with a segmenter: a packaged one ("scene18"), an imported one ("upernet_r50"), or a folder; or
            `huggingface:` and the folder or the hub's name of a semantic segmentation model with ADE20K's classes.
        device: `auto` (CUDA where there is such a device), `cpu`, `cuda` or `cuda:N`.
        threads: torch's CPU threads, for the whole process; None leaves it as it is.
        short_sides: the scales, in pixels, over which probabilities are averaged, for a segmenter that sees pictures
            at a size of choice (the paper's are 300, 375, 450, 525, 600); None is its own choice.

    Raises:
        ModelError: no such model, it has no segmenter, is damaged, sees one size only, or there is no such device.
        MissingLibraryError: a model of Hugging Face without the library.
    """
    from models.segmenter_loading import make_segmenter

    return make_segmenter(name, device=device, threads=threads, short_sides=short_sides)
