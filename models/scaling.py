"""From a picture of any size to the input of a segmenter that keeps its aspect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, PositiveInt

from config.plugins import PluginParams
from models.crops import IMAGENET_MEAN, IMAGENET_STD
from models.prediction import FloatArray

LONG_SIDE = 1000  # pixels


class ScaleParams(PluginParams):
    """Parameters of a segmenter that sees pictures at a size of choice.

    short_sides: the scales, in pixels, over which probabilities are averaged; the paper's are 300, 375, 450, 525, 600.
    long_side: limit of the other side, in pixels.
    """

    short_sides: tuple[PositiveInt, ...] = Field(default=(450,), min_length=1)
    long_side: PositiveInt = LONG_SIDE


@dataclass(frozen=True)
class ShortSideScaling:
    """The short side at a size of choice, the long one at most `long_side`; then resized, not padded, to the next
    `multiple`. The checkpoints of the MIT scene-parsing project expect it so.

    mean, std: per channel (R, G, B), of values in 0..1.
    """

    multiple: int
    long_side: int = LONG_SIDE
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def size(self, height: int, width: int, short_side: int) -> tuple[int, int]:
        """(H, W) at which a picture of height×width is shown to the network."""
        # Floating point and rounding down, as the public implementation has it: the files it wrote depend on both.
        scale = min(short_side / min(height, width), self.long_side / max(height, width))
        return self._up(int(height * scale)), self._up(int(width * scale))

    def __call__(self, picture: NDArray[np.uint8], short_side: int) -> FloatArray:
        """(3, H, W) float32 of a picture (H×W×3 uint8 RGB), normalised per channel."""
        height, width = self.size(picture.shape[0], picture.shape[1], short_side)
        resized = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR), np.float32)
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return np.ascontiguousarray(((resized / 255 - mean) / std).transpose(2, 0, 1), dtype=np.float32)

    def _up(self, side: int) -> int:
        return max(1, -(-side // self.multiple)) * self.multiple
