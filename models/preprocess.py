"""From a picture to the tensor that a network was trained on; the values travel with the model."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.prediction import FloatArray


class Preprocess(BaseModel):
    """The whole picture, squashed to `width`×`height`, scaled to 0..1 and normalised per channel (R, G, B)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(ge=1)
    height: int = Field(ge=1)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, picture: NDArray[np.uint8]) -> FloatArray:
        """A (3, height, width) float32 tensor of a picture (H×W×3 uint8 RGB).

        Raises:
            ValueError: the picture is no H×W×3 uint8 array, or is empty.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
            raise ValueError(f"a picture is HxWx3 uint8 RGB and not empty, not {picture.dtype} {picture.shape}")
        shrinks = picture.shape[0] >= self.height and picture.shape[1] >= self.width
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = cv2.resize(picture, (self.width, self.height), interpolation=method)
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        normal = small.astype(np.float32) * (1 / (255 * std)) - mean / std
        return np.ascontiguousarray(normal.transpose(2, 0, 1), dtype=np.float32)
