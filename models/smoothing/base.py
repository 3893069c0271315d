"""What a smoother takes and gives: pure, one per camera, time in seconds of the stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from models.prediction import FloatArray


@dataclass(frozen=True, slots=True)
class Observation:
    """One raw prediction with its place in time.

    Attributes:
        probabilities: (C,) float32, calibrated, summing to 1.
        pts: presentation time in units of `time_base`.
        time_base: seconds per unit of pts.
        epoch: pts compare only within an epoch; a new one resets the smoother.
        cut: the picture changed hard here, so the past says little about the present.
        p_unknown: probability that the picture shows none of the scenes; None where the model has no such.
    """

    probabilities: FloatArray
    pts: int
    time_base: Fraction
    epoch: int
    cut: bool = False
    p_unknown: float | None = None

    @property
    def seconds(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True)
class Belief:
    """What a smoother holds true after an observation.

    Attributes:
        probabilities: (C,) float32, smoothed, summing to 1.
        scene: index of the stable scene.
        p: smoothed probability of the stable scene.
        since_pts: pts of the observation at which the scene became stable.
        dwell_s: seconds since then.
        changed: the stable scene changed with this observation (also true for the first one of an epoch).
        held: another scene leads the smoothed probabilities, but not clearly or long enough yet.
        unknown: no scene is probable enough to be believed.
        p_unknown: smoothed probability that the pictures show none of the scenes; None where the model has no such.
    """

    probabilities: FloatArray
    scene: int
    p: float
    since_pts: int
    dwell_s: float
    changed: bool
    held: bool
    unknown: bool
    p_unknown: float | None = None


def another_leads(probabilities: FloatArray, scene: int) -> bool:
    """Whether the probabilities (C,), as a belief shows them, have a more probable scene than this one."""
    return bool(probabilities[scene] < probabilities.max())


class Smoother(ABC):
    """Turns raw probabilities over time into a steady belief. Same observations, same beliefs."""

    @abstractmethod
    def update(self, observation: Observation) -> Belief:
        """Take the next observation of the camera; observations come in order of time within an epoch."""

    @abstractmethod
    def describe(self) -> Mapping[str, object]:
        """{"kind": ..., parameter: value...} for messages and logs."""
