"""What the benchmark compares: the raw label, rules as others have them, and our smoothers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from config.schema import CutSettings
from models.hindsight import smooth_offline
from models.smoothing import SMOOTHERS
from models.smoothing.base import Observation
from models.smoothing.hidden_markov import Params
from models.transitions import Transition, TransitionDetector
from tools.steadiness.cuts import CutTally, find_transitions, tally_cuts
from tools.steadiness.measures import Steadiness, Walk, total
from tools.steadiness.predicting import Predictions
from tools.walkthrough.measures import Ints
from tools.walkthrough.truth import Truth

MOST_IN_A_ROW = 200


@dataclass(frozen=True)
class Case:
    """A video of the list, ready to be smoothed.

    Attributes:
        walk: what labels are measured against.
        observations: of every frame.
        cuts: how well the detection of cuts does on it.
        raw: (N,) the label of each frame alone.
    """

    walk: Walk
    observations: list[Observation]
    cuts: CutTally
    raw: Ints


Method = Callable[[Case], Ints]
"""Labels of all frames of a case, (N,)."""


def case_of(predictions: Predictions, truth: Truth, names: Sequence[str], cut: CutSettings) -> Case:
    """A video's predictions as the smoothers of the pipeline would get them."""
    detector = TransitionDetector(cut.threshold, cut.ratio, gradual=cut.gradual)
    transitions: list[Transition | None] = [None] * len(predictions.pts)
    if cut.enabled:
        transitions = find_transitions(detector, predictions.pts, predictions.thumbnails, truth)
    unknown = predictions.p_unknown
    observations = [
        Observation(
            probabilities=row,
            pts=int(predictions.pts[i]),
            time_base=truth.tick,
            epoch=0,
            cut=transitions[i] is not None,
            p_unknown=None if unknown is None else float(unknown[i]),
        )
        for i, row in enumerate(predictions.probabilities)
    ]
    raw = predictions.raw
    cuts = tally_cuts(transitions, predictions.pts, truth)
    return Case(Walk(truth, predictions.pts, raw, names), observations, cuts, raw)


def raw_labels(case: Case) -> Ints:
    """Every frame's own label."""
    return case.raw


def in_a_row(n: int) -> Method:
    """The rule that others have: a label is taken over when `n` frames in a row agree on it, the first one at once."""

    def labels(case: Case) -> Ints:
        found = np.empty_like(case.raw)
        stable, last, run = case.raw[0], case.raw[0], 0
        for i, label in enumerate(case.raw):
            run = run + 1 if label == last else 1
            last = label
            stable = label if run >= n else stable
            found[i] = stable
        return found

    return labels


def smoothed(kind: str, params: Mapping[str, Any], unknown_threshold: float) -> Method:
    """A smoother of the pipeline, frame by frame."""

    def labels(case: Case) -> Ints:
        smoother = SMOOTHERS.build(kind, params, unknown_threshold=unknown_threshold)
        return np.array([smoother.update(one).scene for one in case.observations], np.int64)

    return labels


def looking_ahead(params: Mapping[str, Any], unknown_threshold: float) -> Method:
    """The hidden Markov model over whole recordings."""

    def labels(case: Case) -> Ints:
        beliefs = smooth_offline(case.observations, Params.model_validate(dict(params)), unknown_threshold)
        return np.array([belief.scene for belief in beliefs], np.int64)

    return labels


def measured(method: Method, cases: Sequence[Case]) -> Steadiness:
    """A method over all videos."""
    return total(case.walk.measure(method(case)) for case in cases)


def equal_delay(cases: Sequence[Case], delay_s: float) -> int:
    """The largest N whose rule has a median delay of at most `delay_s`, or 1."""
    best = 1
    for n in range(2, MOST_IN_A_ROW):
        found = measured(in_a_row(n), cases).figures()["delay_p50_s"]
        if found is None or found > delay_s:
            break
        best = n
    return best
