"""Probability curves of scenes over a whole recording, thinned to what a screen can show. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

POINTS = 2000
"""About as many as a wide screen has pixels."""

_LEAST_PEAK = 0.15  # scenes that never get as probable have no curve, unless they have a span
_MOST = 24


@dataclass(frozen=True, slots=True)
class Curves:
    """How probable scenes are over time, as means over N equal bins.

    Attributes:
        step: length of a bin in seconds.
        scenes: the S scenes that have a curve, the one with the largest area first; None stands for "none of them".
        values: (S, N) float32, 0..1. A scene that was not among the best of a frame counts as 0 there.
    """

    step: Fraction
    scenes: tuple[str | None, ...]
    values: NDArray[np.float32]


class CurveGatherer:
    """Gathers the best scenes of every frame; 80 bytes a frame."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {}
        self._seconds = array("d")
        # One entry a scene of a frame: which frame, which scene, how probable.
        self._frames, self._scenes, self._p = array("I"), array("I"), array("f")

    def add(self, at: Fraction, smoothed: Sequence[tuple[str, float]], p_unknown: float | None) -> None:
        """Take a frame: its time after the first one in seconds, its best scenes, and how probable none of them is."""
        told: list[tuple[str | None, float]] = list(smoothed)
        if p_unknown is not None:
            told.append((None, p_unknown))
        for scene, p in told:
            self._frames.append(len(self._seconds))
            self._scenes.append(self._numbers.setdefault(scene, len(self._numbers)))
            self._p.append(p)
        self._seconds.append(float(at))

    def curves(self, duration: Fraction, keep: Sequence[str | None], points: int = POINTS) -> Curves:
        """The curves of all frames.

        Args:
            duration: from the first frame to the end of the last one, in seconds.
            keep: scenes that get a curve however improbable they are.
            points: how many bins at most.
        """
        seconds = np.array(self._seconds)
        count = min(points, len(seconds))
        bins = np.clip(seconds / float(duration) * count, 0, count - 1).astype(np.int64)
        scenes = len(self._numbers)
        places = np.array(self._scenes, np.int64) * count + bins[np.array(self._frames, np.int64)]
        sums = np.bincount(places, np.array(self._p, np.float64), scenes * count).astype(np.float64)
        values = _hold(sums.reshape(scenes, count), np.bincount(bins, minlength=count))
        names = list(self._numbers)
        chosen = [i for i in np.argsort(-values.sum(1)) if names[i] in keep or values[i].max() >= _LEAST_PEAK][:_MOST]
        return Curves(duration / count, tuple(names[i] for i in chosen), values[chosen])


def _hold(sums: NDArray[np.float64], frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """(S, N) means of bins; a bin without a frame goes on with the bin before, as a label holds until the next one."""
    filled = np.maximum.accumulate(np.where(frames > 0, np.arange(len(frames)), 0))
    means = sums / np.maximum(frames, 1)
    return np.asarray(means[:, filled], np.float32)
