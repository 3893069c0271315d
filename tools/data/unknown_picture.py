"""A picture that shows none of a model's scenes, and what the makers of such pictures share."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

SHORT_SIDE = 256  # of every made picture, so that sharpness and not size tells the kinds apart
_ASPECTS = (1.0, 4 / 3, 3 / 2, 3 / 4)


class Made(NamedTuple):
    """A made picture."""

    name: str  # of its file, without folder and suffix
    source: str  # what it was made of
    picture: Picture  # H×W×3 uint8 RGB


def generator_for(seed: int, *names: str) -> np.random.Generator:
    """Chance of its own for each name, so that one more picture leaves the others as they are."""
    return np.random.default_rng([seed % 2**64, zlib.crc32("/".join(names).encode())])


def any_size(generator: np.random.Generator) -> tuple[int, int]:
    """(height, width) of a made picture: one of the usual shapes, the short side `SHORT_SIDE`."""
    aspect = _ASPECTS[generator.integers(len(_ASPECTS))]
    long_side = round(SHORT_SIDE * max(aspect, 1 / aspect))
    return (SHORT_SIDE, long_side) if aspect >= 1 else (long_side, SHORT_SIDE)


def with_grain(values: NDArray[np.floating], generator: np.random.Generator, deviation: float) -> Picture:
    """H×W×3 values 0..255 with Gaussian noise of that standard deviation, as a picture."""
    noisy = values + deviation * generator.standard_normal(values.shape, dtype=np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def blurred(values: NDArray[np.floating], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur of H×W or H×W×3 values, sigma in pixels; 0 leaves them as they are."""
    smooth = values if sigma <= 0 else cv2.GaussianBlur(values, (0, 0), sigma)
    return np.asarray(smooth, np.float32)
