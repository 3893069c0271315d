"""Random changes of a training picture. Every function takes and returns (H, W, 3) uint8 RGB, and its own generator.

Grey pictures are a trap here: some scenes are only had in grey, so a network could learn "colour, hence no office".
Therefore many colour pictures lose their colour, and most grey ones are given some: class by class, as regions of that
class are coloured elsewhere, so that colour tells nothing about where a picture comes from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.train.recipe import Augmentation

Picture = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels

# ADE20K ids of what is met in many scenes and makes none from near: person, door, table, curtain, chair, car, painting,
# armchair. Not bed, sofa, cabinet or shelf, which tell the room; nor "everything else", mostly appliances and leaves.
THINGS = (13, 15, 16, 19, 20, 21, 23, 31)
_FILLED = 0.75
_TRIES = 40


@dataclass(frozen=True)
class Palette:
    """Chroma (a, b of CIE Lab, 8-bit) seen on regions of each class of the teacher: (K, 2) float32 per class."""

    chroma: tuple[NDArray[np.float32], ...]

    def draw(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """One chroma per class, (S, 2); a class never seen in colour borrows from all."""
        seen = [c for c in self.chroma if len(c)]
        pick = [c if len(c) else seen[int(rng.integers(len(seen)))] for c in self.chroma]
        return np.stack([c[int(rng.integers(len(c)))] for c in pick])


def chroma_of_classes(rgb: Picture, labels: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """Mean chroma of each class's region, (S, 2) float32; NaN where the class covers under 2 %.

    `labels` (h, w) is the teacher's best class, smaller than the picture.
    """
    small = cv2.resize(rgb, labels.shape[::-1], interpolation=cv2.INTER_AREA)
    chroma = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[..., 1:].reshape(-1, 2).astype(np.float32)
    flat = labels.ravel()
    counts = np.bincount(flat, minlength=classes).astype(np.float32)
    sums = np.stack([np.bincount(flat, weights=chroma[:, i], minlength=classes) for i in (0, 1)], axis=1)
    means = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    means[counts < 0.02 * flat.size] = np.nan
    return means


def random_box(side: int, settings: Augmentation, rng: np.random.Generator) -> Box:
    """A random part of a square picture: share of the area and width to height as in `settings`."""
    for _ in range(10):
        area = side * side * rng.uniform(*settings.scale)
        ratio = math.exp(rng.uniform(*np.log(settings.ratio)))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if width <= side and height <= side:
            left, top = int(rng.integers(side - width + 1)), int(rng.integers(side - height + 1))
            return left, top, left + width, top + height
    return 0, 0, side, side


def close_up_box(side: int, rng: np.random.Generator) -> Box:
    """A part of a square picture so small (6 to 14 % of its side) that it shows no scene any more."""
    size = round(side * rng.uniform(0.06, 0.14))
    left, top = (int(n) for n in rng.integers(side - size + 1, size=2))
    return left, top, left + size, top + size


def things_box(side: int, classes: NDArray[np.uint8], rng: np.random.Generator) -> Box | None:
    """A part of a square picture (16 to 36 % of its side) that things fill, with next to no place around them.

    Args:
        side: of the picture.
        classes: (h, h) ADE20K ids, its class map.
        rng: where parts are tried.

    Returns:
        The first of `_TRIES` parts that at least `_FILLED` of is things; None if none is.
    """
    small = len(classes)
    filled = np.pad(np.isin(classes, THINGS).cumsum(0).cumsum(1), ((1, 0), (1, 0)))  # an integral image
    for _ in range(_TRIES):
        size = round(small * rng.uniform(0.16, 0.36))
        top, left = (int(n) for n in rng.integers(small - size + 1, size=2))
        bottom, right = top + size, left + size
        within = filled[bottom, right] - filled[top, right] - filled[bottom, left] + filled[top, left]
        if within >= _FILLED * size * size:
            left, top, right, bottom = (round(edge * side / small) for edge in (left, top, right, bottom))
            return left, top, right, bottom
    return None


def crop(rgb: Picture, box: Box, size: int) -> Picture:
    """Cut out `box` and scale it to (size, size)."""
    left, top, right, bottom = box
    part = rgb[top:bottom, left:right]
    shrinks = min(part.shape[:2]) >= size
    return np.asarray(
        cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8
    )


def to_grey(rgb: Picture) -> Picture:
    """Keep the luminance only, in three equal channels."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def tint(rgb: Picture, rng: np.random.Generator) -> Picture:
    """Scale the channels at random, as an odd white balance does."""
    gains = rng.uniform(0.75, 1.25, size=3).astype(np.float32)
    return _clip(rgb * gains)


def colourise(
    rgb: Picture,
    labels: NDArray[np.uint8],
    scores: NDArray[np.uint8],
    palette: Palette,
    rng: np.random.Generator,
) -> Picture:
    """Give a grey picture colours class by class; `labels`, `scores` (h, w, 3) are the teacher's three best."""
    weights = scores.astype(np.float32)
    weights /= np.maximum(weights.sum(axis=2, keepdims=True), 1)
    chroma = (palette.draw(rng)[labels] * weights[..., None]).sum(axis=2) - 128
    chroma *= rng.uniform(0.5, 1.4)
    chroma += rng.normal(0, 4, size=2).astype(np.float32)  # the light's own colour
    patches = rng.normal(0, 5, size=(6, 6, 2)).astype(np.float32)
    height, width = rgb.shape[:2]
    chroma = cv2.resize(chroma, (width, height)) + cv2.resize(patches, (width, height))
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    lab[..., 1:] = _clip(chroma + 128)
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def jitter(rgb: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Change saturation, contrast and brightness, each by up to `strength`."""
    saturation, contrast, brightness = rng.uniform(1 - strength, 1 + strength, size=3)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    # saturation * x + (1 - saturation) * grey, then contrast around the mean, then brightness: one linear map each
    scaled = cv2.addWeighted(
        rgb.astype(np.float32), saturation, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), 1 - saturation, 0
    )
    return _clip(scaled * (contrast * brightness) + (1 - contrast) * brightness * float(grey.mean()))


def degrade(rgb: Picture, rng: np.random.Generator, strength: float = 1.0) -> Picture:
    """What cameras and networks do to a picture: blur, noise, JPEG, low or too much light, haze, one of them.

    The strongest blur, motion and noise grow with `strength`.
    """
    kind = int(rng.integers(8))
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.3, 1.3 * strength)), np.uint8)
    if kind == 1:
        return _noise(rgb.astype(np.float32), rng.uniform(2, 14 * strength), rng)
    if kind == 2:
        quality = int(rng.integers(25, 90))
        _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    if kind == 3:
        return _motion_blur(rgb, round(9 * strength), rng)
    if kind == 4:
        side = round(min(rgb.shape[:2]) * rng.uniform(0.3, 0.6))
        return crop(crop(rgb, (0, 0, rgb.shape[1], rgb.shape[0]), side), (0, 0, side, side), rgb.shape[0])
    if kind == 5:
        return _clip(rgb * rng.uniform(1.2, 2.0))
    if kind == 6:
        haze = rng.uniform(0.2, 0.6)
        return _clip(rgb * (1 - haze) + 255 * haze * rng.uniform(0.7, 0.95))
    dark = 255 * np.power(rgb.astype(np.float32) / 255, rng.uniform(1.2, 2.4)) * rng.uniform(0.5, 1.0)
    return _noise(dark, rng.uniform(2, 8 * strength), rng)


def _motion_blur(rgb: Picture, longest: int, rng: np.random.Generator) -> Picture:
    """Blur along a line of up to so many pixels, as a hand or a car makes it."""
    length = int(rng.integers(3, longest + 1))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, math.pi)
    middle, reach = (length - 1) / 2, (length - 1) / 2
    for t in np.linspace(-reach, reach, 2 * length):
        kernel[round(middle + t * math.sin(angle)), round(middle + t * math.cos(angle))] = 1
    return np.asarray(cv2.filter2D(rgb, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.uint8)


def _noise(rgb: NDArray[np.floating[Any]], deviation: float, rng: np.random.Generator) -> Picture:
    return _clip(rgb + rng.standard_normal(rgb.shape, dtype=np.float32) * np.float32(deviation))


def _clip(values: NDArray[np.floating[Any]]) -> Picture:
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)
