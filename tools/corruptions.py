"""What cameras and the ways of a picture do to it, as a fixed list: by these names figures are reported.

All are pure: a picture (H×W×3 uint8 RGB, any size from 1×1) gives a new one of the same size. Strengths are relative to
the picture's short side, so that a small and a large picture are hurt alike; a person still names the scene.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from config.errors import UnknownPluginError
from models.preprocess import checked_size

Picture = NDArray[np.uint8]

_LINES = 256  # grain and blocks have the size that they have in a picture of so many lines
_NOISE = 30.0  # standard deviation, in grey levels
_JPEG_QUALITY = 15
_DARKER, _DARK_GAMMA, _DARK_NOISE = 0.5, 1.4, 8.0
_OVER_STOPS = 1.7  # aperture stops too much light
_DISPLAY_GAMMA = 2.2
_FOG_COLOUR, _FOG_THINNEST, _FOG_DENSEST = 215.0, 0.45, 0.8  # share of what is seen that is fog
_MOTION, _DEFOCUS = 1 / 20, 1 / 64  # path and radius, in short sides
_LOW_LINES = 240
_BAR = 1 / 8  # of the height, above and below
_ROLL_DEGREES = 15


@dataclass(frozen=True)
class Corruption:
    """One row of the list.

    Attributes:
        name: what it is called.
        apply: gives the corrupted picture; takes what is left to chance from the generator alone.
        stands_for: where it comes from, in a line.
    """

    name: str
    apply: Callable[[Picture, np.random.Generator], Picture]
    stands_for: str


def corrupt(name: str, picture: Picture, seed: int) -> Picture:
    """`picture` as it looks under the corruption `name`; the same seed gives the same picture.

    Args:
        name: one of `CORRUPTIONS`.
        picture: H×W×3 uint8 RGB, any size; left as it is.
        seed: any integer, for the direction of a motion, the grain of noise, the banks of fog.

    Returns:
        A new array of the same shape.

    Raises:
        UnknownPluginError: there is no such corruption.
        ValueError: the picture is no such array, or is empty.
    """
    if name not in CORRUPTIONS:
        raise UnknownPluginError("corruption", name, list(CORRUPTIONS))
    checked_size(picture)
    generator = np.random.default_rng(seed % 2**64)  # which takes no negative seeds
    return np.ascontiguousarray(CORRUPTIONS[name].apply(picture, generator), dtype=np.uint8)


def _motion_blur(picture: Picture, generator: np.random.Generator) -> Picture:
    """The camera moved on a straight line, in a direction of chance, while the shutter was open."""
    reach = _short_side(picture) * _MOTION / 2
    angle = generator.uniform(0, math.pi)
    along = np.array([math.cos(angle), math.sin(angle)]) * reach
    half = math.ceil(reach)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for step in np.linspace(-1, 1, 4 * half + 3):
        x, y = np.rint(half + along * step).astype(int)
        kernel[y, x] += 1
    return _filtered(picture, kernel)


def _blur(picture: Picture, _: np.random.Generator) -> Picture:
    """Out of focus: each point becomes a disc."""
    radius = _short_side(picture) * _DEFOCUS
    half = math.ceil(radius)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    # A soft edge of one pixel, so that discs of any radius differ.
    return _filtered(picture, np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32))


def _noise(picture: Picture, generator: np.random.Generator) -> Picture:
    return _rounded(picture + _grain(picture, generator, _NOISE))


def _jpeg(picture: Picture, _: np.random.Generator) -> Picture:
    """The blocks of JPEG; those of a large picture are as large in it as those of a small one."""
    small = _at_most(picture, _LINES)
    data = cv2.imencode(".jpg", small[:, :, ::-1], (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1]
    packed = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1]
    added = packed.astype(np.float32) - small
    return _rounded(picture + _resized(added, picture, cv2.INTER_NEAREST))


def _low_light(picture: Picture, generator: np.random.Generator) -> Picture:
    """Dark, the shadows most of all, and the sensor's noise with it."""
    dark = 255 * _DARKER * (picture.astype(np.float32) / 255) ** _DARK_GAMMA
    return _rounded(dark + _grain(picture, generator, _DARK_NOISE))


def _over_exposure(picture: Picture, _: np.random.Generator) -> Picture:
    # Light adds up before the display's gamma, so stops are a factor of values with it, too.
    return _rounded(picture.astype(np.float32) * 2 ** (_OVER_STOPS / _DISPLAY_GAMMA))


def _fog(picture: Picture, generator: np.random.Generator) -> Picture:
    """Banks of fog, denser further up, where what is seen is mostly further off."""
    banks = generator.uniform(0, 1, (4, 4)).astype(np.float32)
    height = np.linspace(1, 0, picture.shape[0], dtype=np.float32)[:, None]
    share = np.clip((_resized(banks, picture, cv2.INTER_CUBIC) + height) / 2, 0, 1)[:, :, None]
    density = _FOG_THINNEST + (_FOG_DENSEST - _FOG_THINNEST) * share
    return _rounded(picture * (1 - density) + _FOG_COLOUR * density)


def _grey(picture: Picture, _: np.random.Generator) -> Picture:
    return np.repeat(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))[:, :, None], 3, axis=2)


def _upscaled_240p(picture: Picture, _: np.random.Generator) -> Picture:
    lines = min(_LOW_LINES, _short_side(picture) // 2)
    return _resized(_at_most(picture, max(1, lines)), picture, cv2.INTER_LINEAR).astype(np.uint8)


def _letterbox(picture: Picture, _: np.random.Generator) -> Picture:
    """Black bars over what was above and below; what is between them keeps its shape."""
    bar = round(len(picture) * _BAR)
    boxed = np.zeros_like(picture)
    boxed[bar : len(picture) - bar] = picture[bar : len(picture) - bar]
    return boxed


def _roll(picture: Picture, _: np.random.Generator) -> Picture:
    """Turned about its centre, anticlockwise; what comes into view is black."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), _ROLL_DEGREES, 1)
    return np.asarray(cv2.warpAffine(picture, turn, (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def _mirrored(picture: Picture, _: np.random.Generator) -> Picture:
    return picture[:, ::-1].copy()


def _short_side(picture: Picture) -> int:
    return min(picture.shape[:2])


def _rounded(values: NDArray[np.floating]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _filtered(picture: Picture, kernel: NDArray[np.float32]) -> Picture:
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def _at_most(picture: Picture, lines: int) -> Picture:
    """`picture` with a short side of `lines`, or as it is if that is less."""
    scale = lines / _short_side(picture)
    if scale >= 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _resized(values: NDArray[np.generic], picture: Picture, method: int) -> NDArray[np.float32]:
    """`values` (h×w or h×w×3) at the size of `picture`."""
    return np.asarray(cv2.resize(values, picture.shape[1::-1], interpolation=method), np.float32)


def _grain(picture: Picture, generator: np.random.Generator, deviation: float) -> NDArray[np.float32]:
    """Noise of each channel for itself, H×W×3; its grains are as large in a large picture as in a small one."""
    scale = min(1.0, _LINES / _short_side(picture))
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    grain = generator.standard_normal((height, width, 3), dtype=np.float32) * np.float32(deviation)
    return _resized(grain, picture, cv2.INTER_NEAREST)


CORRUPTIONS = {
    row.name: row
    for row in (
        Corruption("motion_blur", _motion_blur, "a camera that moves while the shutter is open"),
        Corruption("blur", _blur, "a lens out of focus"),
        Corruption("noise", _noise, "a small sensor at a high gain"),
        Corruption("jpeg", _jpeg, "a thin line: JPEG at quality 15"),
        Corruption("low_light", _low_light, "dusk, or a room without a lamp"),
        Corruption("over_exposure", _over_exposure, "a camera that was set for less light"),
        Corruption("fog", _fog, "fog, or a misted lens"),
        Corruption("grey", _grey, "a camera without colour, or its infrared mode"),
        Corruption("upscaled_240p", _upscaled_240p, "240 lines (half of them in a smaller picture), enlarged again"),
        Corruption("letterbox", _letterbox, "black bars above and below, an eighth of the height each"),
        Corruption("roll", _roll, "a camera mounted 15 degrees askew, with black corners"),
        Corruption("mirrored", _mirrored, "a front camera that shows what a mirror would"),
    )
}
