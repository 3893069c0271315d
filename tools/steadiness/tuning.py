"""Chooses a smoother's parameters on walkthroughs of dev pictures: one parameter after the other, twice over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.steadiness.measures import Steadiness
from tools.steadiness.methods import Case, measured, raw_labels, smoothed

ROUNDS = 2

GRIDS: Mapping[str, Mapping[str, Sequence[float]]] = {
    "exponential": {
        "time_constant_s": (0.3, 0.5, 0.8, 1.2),
        "margin": (0.04, 0.08, 0.15, 0.25),
        "confirm_s": (0.1, 0.2, 0.4, 0.6),
        "min_dwell_s": (0.0, 0.5, 1.0),
        "cut_memory": (0.02, 0.1, 0.3),
        "cut_window_s": (0.2, 0.5, 0.8),
    },
    "hidden_markov": {
        "correlation_s": (0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.4),
        "mean_stay_s": (10.0, 20.0, 40.0, 80.0),
        "p_change_at_cut": (0.05, 0.1, 0.2, 0.35, 0.5),
        "evidence_floor": (0.0003, 0.001, 0.003, 0.01, 0.03),
        "margin": (0.1, 0.2, 0.4, 0.6),
        "doubtful_margin": (0.5, 0.8, 0.9, 1.0),
        "confirm_s": (0.0, 0.1, 0.2, 0.4),
        "min_dwell_s": (0.0, 0.5, 1.0),
        "cut_window_s": (0.0, 0.2, 0.5, 0.8),
    },
}

# What is asked of a smoother: flips of raw's, and seconds.
_MOST_FLIPS, _CUT_P95_S, _OTHER_P95_S = 0.2, 1.0, 2.0
_PENALTY, _F1_WEIGHT = 0.03, 0.03


@dataclass(frozen=True, slots=True)
class Trial:
    """Parameters, what they do, and one number for it."""

    params: Mapping[str, float]
    figures: Mapping[str, Any]
    score: float


def tune(kind: str, cases: Sequence[Case], unknown_threshold: float, on_trial: Callable[[Trial], object]) -> Trial:
    """The best trial of a smoother on the cases; the same cases give the same one.

    Args:
        kind: the smoother.
        cases: of dev pictures.
        unknown_threshold: the model's.
        on_trial: told of each trial.
    """
    raw = measured(raw_labels, cases)
    seen: dict[tuple[tuple[str, float], ...], Trial] = {}

    def trial(params: Mapping[str, float]) -> Trial:
        key = tuple(sorted(params.items()))
        if key not in seen:
            found = measured(smoothed(kind, params, unknown_threshold), cases)
            seen[key] = Trial(params, found.figures(), score(found, raw))
            on_trial(seen[key])
        return seen[key]

    best = trial({})
    for _ in range(ROUNDS):
        for name, value in _moves(kind):
            tried = trial({**best.params, name: value})
            best = tried if tried.score > best.score else best
    return best


def score(found: Steadiness, raw: Steadiness) -> float:
    """Accuracy, a little for well-placed segments, and a penalty for each target that is missed, by how far."""
    figures = found.figures()
    wanted = (
        (figures["flips_per_minute"], _MOST_FLIPS * float(raw.figures()["flips_per_minute"] or 0)),
        (figures["clear_cut_delay_p95_s"], _CUT_P95_S),
        (figures["clear_other_delay_p95_s"], _OTHER_P95_S),
    )
    missed = sum(max(0.0, value / most - 1) for value, most in wanted if value is not None and most > 0)
    return float(figures["accuracy"] or 0) + _F1_WEIGHT * float(figures["segment_f1"] or 0) - _PENALTY * missed


def _moves(kind: str) -> Iterator[tuple[str, float]]:
    for name, values in GRIDS[kind].items():
        for value in values:
            yield name, value
