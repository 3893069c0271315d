"""When a segmentation may serve the next picture too: while the picture has hardly changed since it was made.

Pictures are compared as small grey thumbnails with the one that was segmented, not with the one before, so that a slow
change adds up. Two measures, since both matter: the mean over the picture (the camera moves, the light changes) and the
part that differs most (something enters).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from models.cuts import reduced

_WIDTH: Final = 64
_HEIGHT: Final = 36
_BLOCK: Final = 4  # thumbnail pixels; the parts are 16 x 9 blocks
_LOCAL: Final = 4.0  # how much more than the picture as a whole a part may change

Thumbnail = NDArray[np.uint8]


class Cadence:
    """Decides for each picture of one camera, in order, whether the segmentation of an earlier one will do.

    Args:
        threshold: change since the segmented picture, of full scale, from which on a picture is segmented anew.
        max_age_s: seconds of the stream after which it is in any case.
    """

    def __init__(self, threshold: float, max_age_s: float) -> None:
        self.threshold = threshold
        self.max_age_s = max_age_s
        self._key: tuple[Thumbnail, float, int] | None = None

    def reuses(self, picture: NDArray[np.uint8], seconds: float, epoch: int) -> bool:
        """Whether a picture (H×W×3 uint8 RGB) can do with the last segmentation; if not, it is to be segmented.

        Args:
            picture: the next one of the camera.
            seconds: its time in the stream.
            epoch: of the stream; in a new one everything starts anew.
        """
        small = thumbnail(picture)
        if self._key is not None:
            key, key_s, key_epoch = self._key
            young = epoch == key_epoch and 0 <= seconds - key_s < self.max_age_s
            if young and change(key, small) < self.threshold:
                return True
        self._key = small, seconds, epoch
        return False


def change(before: Thumbnail, after: Thumbnail) -> float:
    """How much two thumbnails differ, 0..1: on the mean, or a quarter of that in the block that differs most."""
    difference = cv2.absdiff(before, after)
    blocks = cv2.resize(difference, (_WIDTH // _BLOCK, _HEIGHT // _BLOCK), interpolation=cv2.INTER_AREA)
    return max(float(difference.mean()), float(blocks.max()) / _LOCAL) / 255


def thumbnail(picture: NDArray[np.uint8]) -> Thumbnail:
    """A 36×64 grey reduction of `picture` (H×W×3 uint8 RGB)."""
    # Green stands for grey: it has most of the luminance, and one channel is a third of the work.
    return reduced(picture[..., 1], _WIDTH, _HEIGHT, samples=2)
