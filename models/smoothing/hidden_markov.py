"""Smoother `hidden_markov`: the forward filter of a hidden Markov model (see `models.scene_chain`).

The belief over the scenes and unknown follows the chain between frames and is multiplied by each frame's evidence. A
cut widens it, as the scene may have changed, and lets the next frame count in full; a new epoch starts from the prior.
A picture that is the same as the one before changes nothing, however long it stands; when it moves again, the time
that has passed counts. The label on top changes only on a clear lead. `models.hindsight` has the same model for
recordings, looking ahead.

Which scene, and whether one of them at all, are two questions: the first has a belief of its own, in which no frame
speaks for unknown, so that the right scene stands ready when a doubtful picture has passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field, field_validator

from config.errors import ConfigError
from config.plugins import PluginParams
from models.scene_chain import Doubles, Evidence, Pace, SceneChain
from models.smoothing._commitment import Commitment, Rules
from models.smoothing.base import Belief, Observation, Smoother

_SUM_TOLERANCE = 1e-3


class Params(PluginParams):
    """Parameters of `hidden_markov`; times in seconds of the stream.

    mean_stay_s: how long a camera shows a scene, on average.
    correlation_s: how long a frame's evidence is that of the frames before; together they count as one frame.
    p_change_at_cut: probability that a cut leads to another scene.
    evidence_floor: least evidence of a frame for a state, relative to its best scene; unknown has at most the inverse.
    unknown_share: share of unknown in the long run; the scenes share the rest.
    scene_priors: share of each scene in what the model is calibrated for; even unless given.
    jumps: where a scene leads to as it ends, a row for each scene and one for unknown, each row summing to 1; any scene
        alike unless given. `models.scene_chain.learn_transitions` learns them.
    margin: lead in probability that a challenger needs over the stable scene.
    doubtful_margin: the same while unknown is more probable than not: a mixture of two scenes looks like none, and the
        picture that comes out of it may go on looking a little so.
    confirm_s: how long it must keep that lead.
    min_dwell_s: how long a scene stands at least.
    cut_window_s: how long after a cut a challenger needs neither.
    unknown_threshold: 1 - p(unknown), or the best probability where the model has no p(unknown), of a frame that speaks
        as much for unknown as for a scene; None takes the model's calibrated one.
    unknown_margin: how far from one half the probability of unknown goes before that changes.
    """

    mean_stay_s: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    correlation_s: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    p_change_at_cut: float = Field(default=0.05, ge=0, le=1)
    evidence_floor: float = Field(default=0.003, gt=0, le=1)
    unknown_share: float = Field(default=0.05, gt=0, lt=1)
    scene_priors: tuple[float, ...] | None = None
    jumps: tuple[tuple[float, ...], ...] | None = None
    margin: float = Field(default=0.1, ge=0, le=1)
    doubtful_margin: float = Field(default=0.9, ge=0, le=1)
    confirm_s: float = Field(default=0.0, ge=0)
    min_dwell_s: float = Field(default=0.5, ge=0)
    cut_window_s: float = Field(default=0.8, ge=0)
    unknown_threshold: float | None = Field(default=None, ge=0, le=1)
    unknown_margin: float = Field(default=0.2, ge=0, lt=0.5)

    @field_validator("scene_priors")
    @classmethod
    def _is_a_distribution(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (min(value, default=0) <= 0 or abs(sum(value) - 1) > _SUM_TOLERANCE):
            raise ValueError("priors are above 0 and sum to 1")
        return value

    @field_validator("jumps")
    @classmethod
    def _has_distributions(cls, value: tuple[tuple[float, ...], ...] | None) -> tuple[tuple[float, ...], ...] | None:
        for row in value or ():
            if len(row) != len(value or ()) or min(row) < 0 or abs(sum(row) - 1) > _SUM_TOLERANCE:
                raise ValueError("jumps have as many columns as rows, and rows of shares that sum to 1")
        return value

    def chain(self, scenes: int) -> SceneChain:
        """The chain over `scenes` scenes and unknown.

        Raises:
            ConfigError: the priors or jumps are for another number of scenes.
        """
        prior = np.append((1 - self.unknown_share) * self._scene_prior(scenes), self.unknown_share)
        jumps = None
        if self.jumps is not None:
            jumps = np.array(self.jumps, np.float64)
            if len(jumps) != scenes + 1:
                raise ConfigError(f"smoother hidden_markov: {scenes} scenes need {scenes + 1} jumps, not {len(jumps)}")
            jumps /= jumps.sum(axis=1, keepdims=True)
        return SceneChain(prior, self.mean_stay_s, self.p_change_at_cut, jumps)

    def evidence(self, scenes: int, unknown_threshold: float) -> Evidence:
        """How frames of a model with `scenes` scenes and that threshold speak for the states."""
        own = self.unknown_threshold
        threshold = unknown_threshold if own is None else own
        return Evidence(self._scene_prior(scenes), threshold, self.evidence_floor)

    def _scene_prior(self, scenes: int) -> Doubles:
        if self.scene_priors is None:
            return np.full(scenes, 1 / scenes)
        if len(self.scene_priors) != scenes:
            raise ConfigError(
                f"smoother hidden_markov: {scenes} scenes need as many scene_priors, not {len(self.scene_priors)}"
            )
        return np.array(self.scene_priors, np.float64) / sum(self.scene_priors)


@dataclass
class _Track:
    """Everything that an epoch has left behind."""

    epoch: int
    chain: SceneChain
    evidence: Evidence
    pace: Pace
    belief: Doubles  # (C + 1,)
    scenes: Doubles  # (C + 1,), the same if none of the frames shows unknown
    commitment: Commitment
    unknown: bool = False


class HiddenMarkovSmoother(Smoother):
    """See the module. `unknown_threshold` is the model's; the parameters may have another."""

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
            self._filter(track, observation)
            changed = track.commitment.decide(
                track.scenes[:-1], bool(track.belief[-1] <= 0.5), observation.pts, observation.seconds, observation.cut
            )
        track.unknown = now_unknown(track.belief[-1], track.unknown, self.params.unknown_margin)
        return track.commitment.belief(
            track.scenes[:-1],
            observation.seconds,
            changed=changed,
            unknown=track.unknown,
            p_unknown=None if observation.p_unknown is None else float(track.belief[-1]),
        )

    def describe(self) -> Mapping[str, object]:
        """Kind and parameters, the threshold as it is in force; no matrices, which would fill every message."""
        parameters = self.params.model_dump(exclude={"jumps", "scene_priors"})
        own = self.params.unknown_threshold
        return {
            "kind": "hidden_markov",
            **parameters,
            "unknown_threshold": self.unknown_threshold if own is None else own,
        }

    def _start(self, observation: Observation) -> _Track:
        scenes, params = len(observation.probabilities), self.params
        chain, evidence = params.chain(scenes), params.evidence(scenes, self.unknown_threshold)
        pace = Pace(params.correlation_s)
        pace.step(observation)
        log_evidence = evidence.log(observation)
        belief = updated(chain.prior, log_evidence, 1.0)
        if_scene = updated(chain.prior, if_known(log_evidence), 1.0)
        rules = Rules(params.margin, params.confirm_s, params.min_dwell_s, params.cut_window_s, params.doubtful_margin)
        commitment = Commitment(rules, int(if_scene.argmax()), observation.pts, observation.seconds)
        return _Track(observation.epoch, chain, evidence, pace, belief, if_scene, commitment)

    @staticmethod
    def _filter(track: _Track, observation: Observation) -> None:
        step = track.pace.step(observation)
        if step is not None:
            expected = track.chain.after(track.belief, step.seconds, cut=step.cut)
            log_evidence = track.evidence.log(observation)
            track.belief = updated(expected, log_evidence, step.weight)
            expected = track.chain.after(track.scenes, step.seconds, cut=step.cut)
            track.scenes = updated(expected, if_known(log_evidence), step.weight)


def updated(expected: Doubles, log_evidence: Doubles, weight: float) -> Doubles:
    """Bayes' rule: (S,) belief after a frame.

    Args:
        expected: (S,) belief before it.
        log_evidence: (S,) of the frame, at most 0 and 0 for one state.
        weight: power that the evidence is raised to.
    """
    product = expected * np.exp(weight * log_evidence)
    return np.asarray(product / product.sum(), np.float64)


def if_known(log_evidence: Doubles) -> Doubles:
    """(..., S) evidence of frames that show one of the scenes for certain."""
    scenes = log_evidence.copy()
    scenes[..., -1] = -np.inf
    return scenes


def now_unknown(p: float, before: bool, margin: float) -> bool:
    """Whether unknown is held true; two thresholds, so that a probability near one half does not make it flicker."""
    return bool(p > 0.5 - margin if before else p > 0.5 + margin)


def build(params: Params, *, unknown_threshold: float = 0.0) -> HiddenMarkovSmoother:
    """Build the smoother; `unknown_threshold` is the model's calibrated one."""
    return HiddenMarkovSmoother(params, unknown_threshold)
