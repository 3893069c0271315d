"""Smoother `exponential`: an average over the last seconds, and a label that changes only on clear, lasting evidence.

The average weighs an observation of age a by exp(-a / time_constant_s), whatever the frame rate. The stable scene gives
way to another when that one is believable and has led by `margin` for `confirm_s` (hysteresis). A hard cut loosens all
of this at once: the past counts for little, and for `cut_window_s` a challenger needs no waiting time. A new epoch
starts from nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from config.plugins import PluginParams
from models.smoothing._commitment import Commitment, Rules
from models.smoothing.base import Belief, Observation, Smoother

# Weight of the first observation of an epoch or after a cut, as if it had lasted that long.
_FIRST_S = 1 / 25


class Params(PluginParams):
    """Parameters of `exponential`; times in seconds of the stream.

    time_constant_s: age at which an observation's weight has fallen to 1/e.
    margin: lead in smoothed probability that a challenger needs over the stable scene.
    confirm_s: how long it must keep that lead.
    cut_memory: share of the past's weight that survives a hard cut.
    min_dwell_s: how long a scene stands at least.
    cut_window_s: how long after a cut a challenger needs neither of these times.
    unknown_threshold: smoothed 1 - p(unknown) under which no scene is believed, or smoothed best probability where
        the model has no p(unknown); None takes the model's calibrated one.
    unknown_margin: how far above that threshold belief comes back.
    """

    time_constant_s: float = Field(default=0.8, gt=0)
    margin: float = Field(default=0.08, ge=0, le=1)
    confirm_s: float = Field(default=0.4, ge=0)
    min_dwell_s: float = Field(default=0.0, ge=0)
    cut_memory: float = Field(default=0.02, ge=0, le=1)
    cut_window_s: float = Field(default=0.5, ge=0)
    unknown_threshold: float | None = Field(default=None, ge=0, le=1)
    unknown_margin: float = Field(default=0.05, ge=0, le=1)


@dataclass
class _Track:
    """Everything that an epoch has left behind."""

    epoch: int
    weighted: NDArray[np.float64]  # (C,) weighted sum of probabilities
    strange: float  # weighted sum of p(unknown)
    asks: bool  # whether the model has a p(unknown)
    weight: float  # sum of the weights
    last_s: float
    commitment: Commitment
    unknown: bool = False


class ExponentialSmoother(Smoother):
    """See the module. `unknown_threshold` is the one in force, the model's or the user's."""

    def __init__(self, params: Params, unknown_threshold: float) -> None:
        self.params = params
        self.unknown_threshold = unknown_threshold
        self._track: _Track | None = None

    def update(self, observation: Observation) -> Belief:
        """Take the next observation; time that runs backwards within an epoch counts as standing still."""
        track = self._track
        if track is None or track.epoch != observation.epoch:
            track = self._track = self._start(observation)
            changed = True
        else:
            self._average(track, observation)
            changed = track.commitment.decide(
                track.weighted / track.weight,
                _known(track) >= self.unknown_threshold,
                observation.pts,
                observation.seconds,
                observation.cut,
            )
        self._believe(track, _known(track))
        return track.commitment.belief(
            track.weighted / track.weight,
            observation.seconds,
            changed=changed,
            unknown=track.unknown,
            p_unknown=track.strange / track.weight if track.asks else None,
        )

    def describe(self) -> Mapping[str, object]:
        """Kind and parameters, the threshold as it is in force."""
        parameters = self.params.model_dump() | {"unknown_threshold": self.unknown_threshold}
        return {"kind": "exponential", **parameters}

    def _start(self, observation: Observation) -> _Track:
        weight = self._gain(_FIRST_S)
        probabilities = observation.probabilities.astype(np.float64)
        params = self.params
        rules = Rules(params.margin, params.confirm_s, params.min_dwell_s, params.cut_window_s)
        return _Track(
            epoch=observation.epoch,
            weighted=probabilities * weight,
            strange=(observation.p_unknown or 0.0) * weight,
            asks=observation.p_unknown is not None,
            weight=weight,
            last_s=observation.seconds,
            commitment=Commitment(rules, int(probabilities.argmax()), observation.pts, observation.seconds),
        )

    def _gain(self, dt_s: float) -> float:
        return 1.0 - math.exp(-dt_s / self.params.time_constant_s)

    def _average(self, track: _Track, observation: Observation) -> None:
        gain = self._gain(max(0.0, observation.seconds - track.last_s))
        track.last_s = max(track.last_s, observation.seconds)
        keep = 1.0 - gain
        if observation.cut:
            keep *= self.params.cut_memory
            gain = max(gain, self._gain(_FIRST_S))
        track.weighted = track.weighted * keep + observation.probabilities * gain
        track.strange = track.strange * keep + (observation.p_unknown or 0.0) * gain
        track.weight = track.weight * keep + gain

    def _believe(self, track: _Track, known: float) -> None:
        # Two thresholds, so that a probability that trembles around one does not make `unknown` flicker.
        back = self.unknown_threshold + (self.params.unknown_margin if track.unknown else 0.0)
        track.unknown = known < back


def _known(track: _Track) -> float:
    """How sure it is that one of the scenes is shown, as the model's threshold means it."""
    return 1.0 - track.strange / track.weight if track.asks else float(track.weighted.max() / track.weight)


def build(params: Params, *, unknown_threshold: float = 0.0) -> ExponentialSmoother:
    """Build the smoother; `unknown_threshold` is the model's calibrated one."""
    own = params.unknown_threshold
    return ExponentialSmoother(params, unknown_threshold if own is None else own)
