"""How far a figure would move with other pictures of the same kind: percentile bootstrap (Efron, 1979) over pictures.

Pictures are drawn with replacement, as many as there are. A draw matters only by how often each kind of picture is in
it (say, a kitchen that was recognised), so the counts of the kinds are drawn at once, from their multinomial
distribution; that is the same as drawing picture after picture, and quicker. Two models on the same pictures are
compared in pairs: each draw has the same pictures for both, which leaves out what makes pictures hard for either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

DRAWS = 1000
LEVEL = 0.95

_MOST_COUNTS = 4_000_000  # numbers in memory at once


class Interval(NamedTuple):
    """The bounds of what is plausible for a figure; both belong to it."""

    low: float
    high: float


def mean_interval(values: Floats | Bools, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0) -> Interval:
    """Interval of the mean of one value per picture; of Top@1 when they say whether each is right.

    Args:
        values: (N,), at least one.
        draws: how many times pictures are drawn.
        level: the share of draws that lie in the interval.
        seed: of the draws; the same one gives the same interval.

    Raises:
        ValueError: there are no values, or they are no row.
    """
    _check(values)
    kinds, counts = np.unique(values.astype(np.float64), return_counts=True)
    return _percentiles(counts, lambda drawn: drawn @ kinds / len(values), draws, level, seed)


def mca_interval(correct: Bools, targets: Ints, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0) -> Interval:
    """Interval of the mean class accuracy, over the classes that a draw has pictures of.

    Args:
        correct: (N,) whether each picture's class was found, at least one picture.
        targets: (N,) its class, 0 or more.
        draws, level, seed: see `mean_interval`.

    Raises:
        ValueError: there are no pictures, or the arrays do not fit.
    """
    _check(correct, targets)
    counts, values, classes = _kinds(targets, correct.astype(np.float64))
    return _percentiles(counts, lambda drawn: _class_mean(drawn, values, classes), draws, level, seed)


def mean_difference_interval(
    ours: Floats | Bools, theirs: Floats | Bools, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> Interval:
    """Interval of mean(ours) - mean(theirs), two models' values (N,) on the same pictures in the same order.

    Raises:
        ValueError: there are no pictures, or the arrays do not fit.
    """
    _check(ours, theirs)
    difference = ours.astype(np.float64) - theirs.astype(np.float64)
    return mean_interval(difference, draws=draws, level=level, seed=seed)


def mca_difference_interval(
    ours: Bools, theirs: Bools, targets: Ints, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> Interval:
    """Interval of the difference in mean class accuracy, ours - theirs, of two models on the same pictures.

    Args:
        ours, theirs: (N,) whether each picture's class was found by either.
        targets: (N,) its class, 0 or more.
        draws, level, seed: see `mean_interval`.

    Raises:
        ValueError: there are no pictures, or the arrays do not fit.
    """
    _check(ours, theirs, targets)
    counts, values, classes = _kinds(targets, ours.astype(np.float64) - theirs.astype(np.float64))
    # The mean over classes is linear in the values of the pictures, whatever the counts, so pairs need no more.
    return _percentiles(counts, lambda drawn: _class_mean(drawn, values, classes), draws, level, seed)


def _kinds(targets: Ints, values: Floats) -> tuple[Ints, Floats, Ints]:
    """The kinds of pictures: how many of each (K,), their value (K,), their class (K,) as 0, 1, ..."""
    kinds, counts = np.unique(np.stack([targets, values], axis=1), axis=0, return_counts=True)
    _, classes = np.unique(kinds[:, 0], return_inverse=True)
    return counts, kinds[:, 1], classes.reshape(-1)


def _class_mean(drawn: Ints, values: Floats, classes: Ints) -> Floats:
    """Mean over classes of the mean value of their pictures, for each draw: (draws, K) counts to (draws,)."""
    of_class = np.eye(classes.max() + 1)[classes]
    pictures = drawn @ of_class
    means = np.full(pictures.shape, np.nan)
    np.divide((drawn * values) @ of_class, pictures, out=means, where=pictures > 0)
    return np.nanmean(means, axis=1)


def _percentiles(counts: Ints, figure: Callable[[Ints], Floats], draws: int, level: float, seed: int) -> Interval:
    """Bounds of `figure` over draws of kinds that occur `counts` (K,) times; it gets (n, K) counts and gives (n,)."""
    generator = np.random.default_rng(seed)
    total = int(counts.sum())
    at_once = max(1, _MOST_COUNTS // len(counts))
    sizes = [min(at_once, draws - start) for start in range(0, draws, at_once)]
    figures = [figure(generator.multinomial(total, counts / total, size=size)) for size in sizes]
    low, high = np.quantile(np.concatenate(figures), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _check(*rows: NDArray[Any]) -> None:
    if any(row.ndim != 1 or row.shape != rows[0].shape for row in rows) or not len(rows[0]):
        raise ValueError(f"rows of one value per picture expected, not {', '.join(str(row.shape) for row in rows)}")
