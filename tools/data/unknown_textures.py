"""Textures out of formulas: stripes, checks, clouds, cloth, speckle, in colour and grey; and plain colours.

Each is a pattern 0..1 over the picture, a palette of two or three colours, light that falls off, and grain. The report
part has other parameters than the tune part (finer and coarser patterns, other tilts), and three patterns of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.data.unknown_picture import Made, Picture, any_size, blurred, generator_for, with_grain

Pattern = NDArray[np.float32]  # H×W, 0..1

_GREY_SHARE = 0.25
_FALLOFF = (0.0, 0.6)  # how much darker the far side is
_GRAIN = (0.5, 8.0)  # grey levels
# Periods in pixels of a short side of 256; the report part has both finer and coarser ones.
_PERIODS = {"tune": ((14.0, 40.0),), "report": ((6.0, 13.0), (42.0, 90.0))}
_TILTS = {"tune": (-20.0, 20.0), "report": (25.0, 65.0)}  # degrees
_OCTAVES = {"tune": (2, 5), "report": (5, 8)}


class _Chance:
    """The parameters of one texture."""

    def __init__(self, generator: np.random.Generator, part: str) -> None:
        self.generator = generator
        spans = _PERIODS[part]
        self.period = float(generator.uniform(*spans[generator.integers(len(spans))]))
        self.tilt = float(np.radians(generator.uniform(*_TILTS[part])) + generator.integers(2) * np.pi / 2)
        self.octaves = int(generator.integers(*_OCTAVES[part]))
        self.softness = float(generator.uniform(0.02, 0.5))

    def axes(self, height: int, width: int) -> tuple[Pattern, Pattern]:
        """Coordinates along and across, in periods."""
        y, x = np.mgrid[:height, :width].astype(np.float32)
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        along, across = (x * cos + y * sin) / self.period, (y * cos - x * sin) / self.period
        return along.astype(np.float32), across.astype(np.float32)


def _stripes(chance: _Chance, height: int, width: int) -> Pattern:
    along, across = chance.axes(height, width)
    bent = along + chance.generator.uniform(0, 0.4) * np.sin(across * chance.generator.uniform(0.2, 0.8))
    return _edge(np.sin(2 * np.pi * bent), chance.softness)


def _checks(chance: _Chance, height: int, width: int) -> Pattern:
    along, across = chance.axes(height, width)
    return _edge(np.sin(np.pi * along) * np.sin(np.pi * across), chance.softness)


def _clouds(chance: _Chance, height: int, width: int) -> Pattern:
    """Noise of several grains, each half as strong as the next coarser one."""
    total = np.zeros((height, width), np.float32)
    for octave in range(chance.octaves):
        cells = 2 ** (octave + 1)
        grid = chance.generator.random((cells * height // width + 2, cells + 2), dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return _stretched(total)


def _gradient(chance: _Chance, height: int, width: int) -> Pattern:
    along, across = chance.axes(height, width)
    if chance.generator.random() < 0.5:
        centre = chance.generator.uniform(0.2, 0.8, 2)
        return _stretched(np.hypot(along - along.max() * centre[0], across - across.max() * centre[1]))
    return _stretched(along)


def _weave(chance: _Chance, height: int, width: int) -> Pattern:
    """Threads that pass over and under each other."""
    along, across = chance.axes(height, width)
    over = (np.floor(along) + np.floor(across)) % 2
    warp, weft = np.abs(np.sin(np.pi * along)), np.abs(np.sin(np.pi * across))
    return np.asarray(np.where(over > 0, 0.35 + 0.65 * warp, 0.65 * weft), np.float32)


def _speckle(chance: _Chance, height: int, width: int) -> Pattern:
    grains = chance.generator.random((height, width), dtype=np.float32)
    return _stretched(blurred(grains, chance.period / 12) ** chance.generator.uniform(1, 4))


def _twill(chance: _Chance, height: int, width: int) -> Pattern:
    """Diagonal cloth with uneven threads."""
    along, across = chance.axes(height, width)
    lines = np.sin(2 * np.pi * (along + across)) + 0.5 * np.sin(2 * np.pi * 4 * along)
    uneven = blurred(chance.generator.standard_normal((height, width), dtype=np.float32), 1.5)
    return _stretched(lines + 2 * uneven)


def _cells(chance: _Chance, height: int, width: int) -> Pattern:
    """Distance to the nearest of some points: stones, scales, foam."""
    step = chance.period
    places = np.stack(np.meshgrid(np.arange(-step, height + step, step), np.arange(-step, width + step, step)), -1)
    points = places.reshape(-1, 2) + chance.generator.uniform(-0.45, 0.45, (places.size // 2, 2)) * step
    inside = np.clip(np.rint(points), 0, [height - 1, width - 1]).astype(int)
    free = np.ones((height, width), np.uint8)
    free[inside[:, 0], inside[:, 1]] = 0
    return _stretched(np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, 5), np.float32))


def _dots(chance: _Chance, height: int, width: int) -> Pattern:
    along, across = chance.axes(height, width)
    shifted = along + 0.5 * (np.floor(across) % 2)
    radius = np.hypot(shifted % 1 - 0.5, across % 1 - 0.5)
    return _edge(chance.generator.uniform(0.15, 0.4) - radius, chance.softness / 4)


_BOTH = (_stripes, _checks, _clouds, _gradient, _weave, _speckle)
_REPORT_ALONE = (_twill, _cells, _dots)
PATTERNS: dict[str, tuple[Callable[[_Chance, int, int], Pattern], ...]] = {
    "tune": _BOTH,
    "report": (*_BOTH, *_REPORT_ALONE),
}


def textures(part: str, count: int, seed: int) -> Iterator[Made]:
    """`count` textures of a part, "tune" or "report", as many of each pattern."""
    for number in range(count):
        pattern = PATTERNS[part][number % len(PATTERNS[part])]
        name = pattern.__name__.lstrip("_")
        generator = generator_for(seed, part, "texture", str(number))
        yield Made(f"{name}_{number:04d}", f"formula:{name}", _texture(pattern, _Chance(generator, part)))


def plain_pictures(part: str, seed: int) -> Iterator[Made]:
    """What any measure should know for none of the scenes: black, white, greys, plain colours and noise."""
    generator = generator_for(seed, part, "plain")
    for level in (0, 255, *map(int, generator.integers(20, 236, 6))):
        yield Made(f"grey_{level:03d}", "formula:grey", _filled((level, level, level), generator))
    for number in range(16):
        colour = tuple(map(int, generator.integers(0, 256, 3)))
        yield Made(f"colour_{number:02d}", "formula:colour", _filled(colour, generator))
    for number in range(8):
        shape = (*any_size(generator), 3 if number % 2 else 1)
        noise = np.broadcast_to(generator.integers(0, 256, shape), (*shape[:2], 3))
        yield Made(f"noise_{number:02d}", "formula:noise", noise.astype(np.uint8))
    for number in range(8):
        level, deviation = generator.uniform(30, 220), generator.uniform(10, 60)
        grain = with_grain(np.full((*any_size(generator), 3), level, np.float32), generator, deviation)
        yield Made(f"grain_{number:02d}", "formula:noise", grain)


def _filled(colour: tuple[int, ...], generator: np.random.Generator) -> Picture:
    return np.full((*any_size(generator), 3), colour, np.uint8)


def _texture(pattern: Callable[[_Chance, int, int], Pattern], chance: _Chance) -> Picture:
    generator = chance.generator
    height, width = any_size(generator)
    values = _coloured(pattern(chance, height, width), generator)
    light = _light(height, width, generator)
    lit = blurred(values * light[:, :, None], generator.uniform(0, 1.5))
    return with_grain(lit, generator, generator.uniform(*_GRAIN))


def _coloured(pattern: Pattern, generator: np.random.Generator) -> NDArray[np.float32]:
    """H×W×3, 0..255: from one colour to another, at times by way of a third."""
    colours = generator.uniform(0, 255, (int(generator.integers(2, 4)), 3))
    if generator.random() < _GREY_SHARE:
        colours[:] = colours[:, :1]
    places = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(pattern, places, colours[:, c]) for c in range(3)], axis=-1).astype(np.float32)


def _light(height: int, width: int, generator: np.random.Generator) -> Pattern:
    """1 at the lit side or spot, falling to less."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    turn, spot = generator.uniform(0, 2 * np.pi), generator.uniform(-0.2, 1.2, 2)
    way = x * np.cos(turn) + y * np.sin(turn) if generator.random() < 0.5 else np.hypot(x - spot[0], y - spot[1])
    return np.asarray(1 - generator.uniform(*_FALLOFF) * _stretched(way), np.float32)


def _edge(wave: NDArray[np.floating], softness: float) -> Pattern:
    """0..1 from a wave about 0: hard edges with a softness near 0."""
    return np.asarray(0.5 + 0.5 * np.tanh(wave / max(softness, 1e-3)), np.float32)


def _stretched(values: NDArray[np.floating]) -> Pattern:
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / max(high - low, 1e-6), np.float32)
