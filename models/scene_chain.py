"""The hidden Markov model of what a camera shows: states that last, frames that speak for them. Pure.

States are the C scenes and, last, unknown. A camera stays with a state for `mean_stay_s` on average and then jumps: a
Markov chain in continuous time, so a step may have any length, and two short ones do what a long one does. A frame's
evidence for a scene is its posterior over the class prior, as hybrid networks have it (Bourlard and Morgan,
"Connectionist Speech Recognition", 1994), tempered since frames that follow each other are nearly the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.smoothing.base import Observation

Doubles = NDArray[np.float64]

_TAIL = 1e-14  # probability of jumps that a step leaves out
_TINY = 1e-12  # of a probability whose logarithm is taken


@dataclass(frozen=True)
class SceneChain:
    """How states follow each other.

    Attributes:
        prior: (S,) share of each state in the long run, summing to 1; the belief before the first frame.
        mean_stay_s: mean time from one jump to the next.
        p_change_at_cut: probability of a jump at a cut.
        jumps: (S, S) where a jump leads, row: from; rows sum to 1. None: to any state by its prior, the same included.
    """

    prior: Doubles
    mean_stay_s: float
    p_change_at_cut: float
    jumps: Doubles | None = None

    def after(self, belief: Doubles, seconds: float, *, cut: bool = False) -> Doubles:
        """What is to be expected of (..., S) beliefs once `seconds` have passed without a frame, perhaps with a cut.

        For a chain whose jumps forget where they come from, exp(-t/stay) of the belief stays as it is. Else the number
        of jumps has a Poisson distribution ("uniformization", Jensen 1953).
        """
        jumps = seconds / self.mean_stay_s
        if self.jumps is None:
            stays = math.exp(-jumps)
            belief = stays * belief + (1 - stays) * self._jumped(belief)
        else:
            parts = max(1, math.ceil(jumps))  # short steps, as the weights of a long one would underflow
            for _ in range(min(parts, 1000)):
                belief = self._step(belief, jumps / parts)
        if cut:
            belief = (1 - self.p_change_at_cut) * belief + self.p_change_at_cut * self._jumped(belief)
        return belief

    def matrix(self, seconds: float, *, cut: bool = False) -> Doubles:
        """(S, S) probabilities of each state after `seconds`, row: the state before."""
        return self.after(np.eye(len(self.prior)), seconds, cut=cut)

    def _jumped(self, belief: Doubles) -> Doubles:
        if self.jumps is not None:
            return np.asarray(belief @ self.jumps, np.float64)
        return np.asarray(belief.sum(axis=-1, keepdims=True) * self.prior, np.float64)

    def _step(self, belief: Doubles, expected: float) -> Doubles:
        weight = math.exp(-expected)
        total, left, count = weight * belief, 1 - weight, 0
        while left > _TAIL and count < 100:
            count += 1
            belief = self._jumped(belief)
            weight *= expected / count
            total, left = total + weight * belief, left - weight
        return total


@dataclass(frozen=True)
class Evidence:
    """How much a frame speaks for each state.

    Attributes:
        scene_prior: (C,) share of each scene in what the model's probabilities are calibrated for.
        unknown_threshold: the model's; a frame at it speaks as much for unknown as for its best scene.
        floor: a frame speaks for no scene less than this, relative to its best scene, and for unknown neither less nor
            more than as much: even a network that is sure may be wrong.
    """

    scene_prior: Doubles
    unknown_threshold: float
    floor: float

    def log(self, observation: Observation) -> Doubles:
        """(C + 1,) logarithm of the evidence; 0 for the state that the frame speaks most for.

        The floor holds among the scenes, so that a frame tells them apart also where unknown is far above them.
        """
        probabilities = observation.probabilities.astype(np.float64)
        scenes = np.log(np.maximum(probabilities, _TINY)) - np.log(self.scene_prior)
        known = probabilities.max() if observation.p_unknown is None else 1.0 - observation.p_unknown
        unknown = _log_odds(1.0 - known) - _log_odds(1.0 - self.unknown_threshold)
        least = math.log(self.floor)
        found = np.append(np.maximum(scenes - scenes.max(), least), np.clip(unknown, least, -least))
        return np.asarray(found - found.max(), np.float64)


@dataclass(frozen=True, slots=True)
class Step:
    """A frame with news.

    Attributes:
        seconds: since the last one with news, 0 for the first.
        weight: power that its evidence is raised to, 0..1.
        cut: whether a cut lies before it.
    """

    seconds: float
    weight: float
    cut: bool


class Pace:
    """Tells how much of each frame is new. One epoch of one camera.

    Frames nearer than `correlation_s` are not independent: together, those of that time count as one. The first frame,
    and the first after a cut, owe nothing to those before and count in full. A picture that is the same as the one
    before has no news at all.
    """

    def __init__(self, correlation_s: float) -> None:
        self._correlation_s = correlation_s
        self._last: Observation | None = None
        self._last_s = 0.0

    def step(self, observation: Observation) -> Step | None:
        """The next frame's step; None if it has no news. Time that runs backwards stands still."""
        last, seconds = self._last, observation.seconds
        if last is None:
            self._last, self._last_s = observation, seconds
            return Step(0.0, 1.0, cut=False)
        if not observation.cut and _same(last, observation):
            return None
        passed = max(0.0, seconds - self._last_s)
        self._last, self._last_s = observation, max(self._last_s, seconds)
        weight = 1.0 if observation.cut else min(1.0, passed / self._correlation_s)
        return Step(passed, weight, observation.cut)


def learn_transitions(
    paths: Sequence[Sequence[int]], seconds: Sequence[Sequence[float]], states: int, pseudo_count: float = 1.0
) -> tuple[float, Doubles]:
    """Mean stay in seconds, and jumps (S, S), of recordings whose states are known.

    Args:
        paths: the state of each frame, a sequence for each recording.
        seconds: the time of each frame, rising.
        states: how many there are, S.
        pseudo_count: jumps from each state that are taken as seen, shared out evenly among the others.

    Raises:
        ValueError: there is no time between frames.
    """
    counts = np.full((states, states), pseudo_count / max(1, states - 1))
    np.fill_diagonal(counts, 0.0)
    total, changes = 0.0, 0
    for path, times in zip(paths, seconds, strict=True):
        for before, after in pairwise(path):
            if before != after:
                counts[before, after] += 1
                changes += 1
        total += times[-1] - times[0] if len(times) else 0.0
    if total <= 0:
        raise ValueError("transitions are learnt from recordings of some length")
    return total / max(1, changes), counts / counts.sum(axis=1, keepdims=True)


def _same(one: Observation, other: Observation) -> bool:
    return one.p_unknown == other.p_unknown and np.array_equal(one.probabilities, other.probabilities)


def _log_odds(p: float) -> float:
    p = min(max(float(p), _TINY), 1 - _TINY)
    return math.log(p) - math.log1p(-p)
