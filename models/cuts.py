"""Hard cuts from a cheap picture difference: the thumbnail changes much, and much more than it did lately.

The second condition is what PySceneDetect calls adaptive: a shaking camera changes every frame and is no cut.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_WIDTH: Final = 32
_HEIGHT: Final = 18
_MEMORY: Final = 0.85  # weight of the past in the recent difference, per frame


class CutDetector:
    """Compares each picture of one camera with the one before.

    Args:
        threshold: mean absolute difference of the thumbnails, of full scale, that may be a cut (0..1).
        ratio: how many times the recent difference a cut exceeds.
    """

    def __init__(self, threshold: float, ratio: float) -> None:
        self.threshold = threshold
        self.ratio = ratio
        self._last: NDArray[np.int16] | None = None
        self._recent = 0.0

    def update(self, picture: NDArray[np.uint8]) -> bool:
        """Whether a hard cut lies between the previous picture and this one (H×W×3 uint8 RGB)."""
        return self.update_small(thumbnail(picture))

    def update_small(self, small: NDArray[np.int16]) -> bool:
        """The same for a picture whose thumbnail is at hand."""
        last, self._last = self._last, small
        if last is None:
            return False
        difference = float(np.abs(small - last).mean()) / 255.0
        is_cut = difference > self.threshold and difference > self.ratio * self._recent
        if not is_cut:
            self._recent = _MEMORY * self._recent + (1 - _MEMORY) * difference
        return is_cut

    def reset(self) -> None:
        """Forget the previous picture (a new epoch begins)."""
        self._last = None
        self._recent = 0.0


def thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.int16]:
    """An 18×32×3 reduction of `picture` (H×W×3 uint8), int16 so that differences do not wrap."""
    return reduced(picture, _WIDTH, _HEIGHT, samples=4).astype(np.int16)


def reduced(picture: NDArray[np.uint8], width: int, height: int, samples: int) -> NDArray[np.uint8]:
    """`picture` (H×W or H×W×3 uint8) at width×height, each pixel the mean of about `samples`² of those it stands for.

    Skipping pixels first costs nothing and leaves the area average little to do, also at 4K.
    """
    step = max(1, min(picture.shape[0] // (samples * height), picture.shape[1] // (samples * width)))
    small = cv2.resize(picture[::step, ::step], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
