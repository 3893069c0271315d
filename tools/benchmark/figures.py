"""What is made of measured values: percentiles, median and spread, the slope of a line. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure that was measured several times."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of many values, in their unit; nearest rank, so each is one of the values."""

    p50: float
    p95: float
    p99: float


def spread(values: Sequence[float], digits: int = 2) -> Spread:
    """Median, lowest and highest of at least one value."""
    return Spread(round(statistics.median(values), digits), round(min(values), digits), round(max(values), digits))


def percentiles(values: Sequence[float], digits: int = 2) -> Percentiles:
    """The percentiles of at least one value."""
    ordered = sorted(values)
    ranks = (max(0, math.ceil(percent / 100 * len(ordered)) - 1) for percent in (50, 95, 99))
    return Percentiles(*(round(ordered[rank], digits) for rank in ranks))


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Units of y per unit of x of the line through (x, y) with the least squares; 0 where all x are one."""
    mean_x, mean_y = (statistics.fmean(axis) for axis in zip(*points, strict=True))
    width = sum((x - mean_x) ** 2 for x, _ in points)
    return 0.0 if width == 0 else sum((x - mean_x) * (y - mean_y) for x, y in points) / width
