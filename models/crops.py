"""The reference's view of a picture: short side to 256, crops of 224, the semantics cut like the picture.

"Semantic-Aware Scene Recognition" (arXiv 1909.02410), its evaluation protocol: the centre, or ten crops (four corners
and the centre, and their mirror images). Live frames and files of data sets take the very same way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from models.encoding import SemanticMap
from models.prediction import FloatArray, View
from models.preprocess import checked_size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Picture = NDArray[np.uint8]


class Box(NamedTuple):
    """A crop, in pixels of the resized picture."""

    top: int
    left: int
    mirrored: bool = False


class CropPreprocess(BaseModel):
    """How a scene network of the reference sees a picture.

    short_side: pixels; None leaves pictures as large as they are (Places365, whose pictures are 256x256).
    side: of the square crop, in pixels.
    mean, std: per channel (R, G, B), of values in 0..1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    short_side: int | None = Field(default=256, ge=1)
    side: int = Field(default=224, ge=1)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def resized(self, picture: Picture) -> Picture:
        """A picture (H, W, 3) uint8 RGB at the size that crops are taken from, its aspect kept.

        Raises:
            ValueError: no such array, or with `short_side` None it is smaller than the crop.
        """
        return _resized(picture, self.size(*checked_size(picture)), Image.Resampling.BILINEAR)

    def resized_map(self, semantics: SemanticMap) -> SemanticMap:
        """A semantic map (3, H, W) at the size of the resized picture: labels by nearest, scores bilinear."""
        size = self.size(*semantics.labels.shape[1:])
        return SemanticMap(
            np.stack([_resized(plane, size, Image.Resampling.NEAREST) for plane in semantics.labels]),
            np.stack([_resized(plane, size, Image.Resampling.BILINEAR) for plane in semantics.scores]),
        )

    def boxes(self, resized: Picture, ten: bool = False) -> list[Box]:
        """The centre crop of a resized picture, or ten crops: corners and centre, then the same mirrored."""
        bottom, right = resized.shape[0] - self.side, resized.shape[1] - self.side
        centre = self.centre(resized.shape[0], resized.shape[1])
        if not ten:
            return [centre]
        plain = [Box(0, 0), Box(0, right), Box(bottom, 0), Box(bottom, right), centre]
        return [*plain, *(box._replace(mirrored=True) for box in plain)]

    def centre(self, height: int, width: int) -> Box:
        """The centre crop of a resized picture of height×width."""
        return Box(round((height - self.side) / 2), round((width - self.side) / 2))

    def view(self, height: int, width: int) -> View:
        """What the centre crop shows of a resized picture of height×width."""
        top, left, _ = self.centre(height, width)
        return View(top / height, left / width, (top + self.side) / height, (left + self.side) / width)

    def tensor(self, resized: Picture, box: Box) -> FloatArray:
        """What a box shows of a resized picture, (3, side, side) float32, normalised."""
        crop = self._cut(resized, box).astype(np.float32) / 255
        normal = (crop - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)

    def map(self, resized: SemanticMap, box: Box) -> SemanticMap:
        """What a box shows of a resized semantic map, both arrays (3, side, side)."""
        labels, scores = (self._cut(plane.transpose(1, 2, 0), box).transpose(2, 0, 1) for plane in resized)
        return SemanticMap(np.ascontiguousarray(labels), np.ascontiguousarray(scores))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) at which crops are taken from a picture of height×width.

        Raises:
            ValueError: with `short_side` None it is smaller than the crop.
        """
        if self.short_side is None:
            if min(height, width) < self.side:
                raise ValueError(f"the picture is {width}x{height}, smaller than the crop {self.side}x{self.side}")
            return height, width
        if height <= width:
            return self.short_side, int(self.short_side * width / height)
        return int(self.short_side * height / width), self.short_side

    def _cut(self, pixels: Picture, box: Box) -> Picture:
        cut = pixels[box.top : box.top + self.side, box.left : box.left + self.side]
        return cut[:, ::-1] if box.mirrored else cut


def _resized(pixels: Picture, size: tuple[int, int], method: Image.Resampling) -> Picture:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), method), pixels.dtype)
