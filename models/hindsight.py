"""The hidden Markov model of `smoothing.hidden_markov` for recordings: every frame in the light of all. Pure.

Probabilities come from forward-backward, the scenes from the most probable path (Viterbi); both as in Rabiner, "A
tutorial on hidden Markov models", 1989. The model is the filter's, so nothing is to be chosen anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from models.scene_chain import Doubles, Pace, SceneChain, Step
from models.smoothing.base import Belief, Observation, another_leads
from models.smoothing.hidden_markov import Params, if_known, updated


@dataclass(frozen=True)
class _Frames:
    """The frames of an epoch that have news, K of them."""

    steps: list[Step]
    log_evidence: Doubles  # (K, S), weighted
    place: NDArray[np.int64]  # (N,) the one of the K that each frame belongs to


def smooth_offline(
    observations: Sequence[Observation], params: Params | None = None, unknown_threshold: float = 0.0
) -> list[Belief]:
    """Beliefs of a whole recording, one for each observation.

    Args:
        observations: in order; epochs are looked at one by one.
        params: of the model; the times and margins of the label are of no use here.
        unknown_threshold: the recognizer's calibrated one.
    """
    params = params or Params()
    found: list[Belief] = []
    for _, epoch in groupby(observations, key=lambda observation: observation.epoch):
        frames = list(epoch)
        chain = params.chain(len(frames[0].probabilities))
        news = _gather(frames, params, unknown_threshold)
        known = if_known(news.log_evidence)
        unknown = marginals(chain, news.steps, news.log_evidence)[:, -1]
        scenes, path = marginals(chain, news.steps, known)[:, :-1], viterbi(chain, news.steps, known)
        found += _beliefs(frames, scenes[news.place], unknown[news.place], path[news.place])
    return found


def marginals(chain: SceneChain, steps: Sequence[Step], log_evidence: Doubles) -> Doubles:
    """(K, S) probability of each state at each step, given all evidence (K, S)."""
    transitions = _transitions(chain, steps)
    forward = np.empty_like(log_evidence)
    forward[0] = updated(chain.prior, log_evidence[0], 1.0)
    for k in range(1, len(steps)):
        forward[k] = updated(forward[k - 1] @ transitions[k], log_evidence[k], 1.0)
    backward = np.ones(log_evidence.shape[1])
    shares = forward.copy()
    for k in range(len(steps) - 2, -1, -1):
        backward = transitions[k + 1] @ (np.exp(log_evidence[k + 1]) * backward)
        backward /= backward.sum()
        shares[k] *= backward
        shares[k] /= shares[k].sum()
    return shares


def viterbi(chain: SceneChain, steps: Sequence[Step], log_evidence: Doubles) -> NDArray[np.int64]:
    """(K,) the most probable path of states, given all evidence (K, S); of equal ones the first state's."""
    logs: dict[int, Doubles] = {}
    transitions = _transitions(chain, steps)
    best = np.log(chain.prior) + log_evidence[0]
    came_from = np.zeros(log_evidence.shape, np.int64)
    for k in range(1, len(steps)):
        matrix = transitions[k]
        log = logs.get(id(matrix))
        if log is None:
            with np.errstate(divide="ignore"):  # what cannot happen is -inf, as it should be
                log = logs[id(matrix)] = np.log(matrix)
        ways = best[:, None] + log
        came_from[k] = ways.argmax(axis=0)
        best = ways.max(axis=0) + log_evidence[k]
    path = np.empty(len(steps), np.int64)
    path[-1] = best.argmax()
    for k in range(len(steps) - 1, 0, -1):
        path[k - 1] = came_from[k, path[k]]
    return path


def _gather(frames: Sequence[Observation], params: Params, unknown_threshold: float) -> _Frames:
    evidence = params.evidence(len(frames[0].probabilities), unknown_threshold)
    pace = Pace(params.correlation_s)
    steps: list[Step] = []
    rows: list[Doubles] = []
    place = np.empty(len(frames), np.int64)
    for i, frame in enumerate(frames):
        step = pace.step(frame)
        if step is not None:
            steps.append(step)
            rows.append(step.weight * evidence.log(frame))
        place[i] = len(steps) - 1
    return _Frames(steps, np.stack(rows), place)


def _transitions(chain: SceneChain, steps: Sequence[Step]) -> list[Doubles]:
    """The matrix (S, S) of each step, one for all steps of the same length."""
    known: dict[tuple[float, bool], Doubles] = {}
    found = []
    for step in steps:
        key = (round(step.seconds, 9), step.cut)
        if key not in known:
            known[key] = chain.matrix(step.seconds, cut=step.cut)
        found.append(known[key])
    return found


def _beliefs(frames: Sequence[Observation], scenes: Doubles, unknown: Doubles, path: NDArray[np.int64]) -> list[Belief]:
    found: list[Belief] = []
    since = frames[0]
    for i, (frame, scene, probabilities) in enumerate(zip(frames, path.tolist(), scenes, strict=True)):
        changed = i == 0 or scene != int(path[i - 1])
        shown = probabilities.astype(np.float32)
        since = frame if changed else since
        found.append(
            Belief(
                probabilities=shown,
                scene=scene,
                p=float(probabilities[scene]),
                since_pts=since.pts,
                dwell_s=max(0.0, frame.seconds - since.seconds),
                changed=changed,
                held=another_leads(shown, scene),
                unknown=bool(unknown[i] > 0.5),
                p_unknown=None if frame.p_unknown is None else float(unknown[i]),
            )
        )
    return found
