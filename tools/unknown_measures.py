"""How well a score tells pictures of none of the scenes from pictures of one. A higher score means more unknown.

Scores are (N,) float, one a picture; a picture is called unknown where its score is above the threshold. Results are
plain floats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

APART = ("easy",)  # kinds that the mean leaves out: what every score knows says nothing


@dataclass(frozen=True)
class UnknownFigures:
    """What is reported about one score.

    Attributes:
        auroc: by kind of unknown pictures, against all known ones.
        mean_auroc: mean over the kinds, without those of `APART`.
        threshold: above it a picture is called unknown.
        known_called: share of the known pictures that are called unknown, wrongly.
        called: share of the unknown pictures that are called unknown, by kind.
        counts: pictures by kind; the known ones under "known".
    """

    auroc: Mapping[str, float]
    mean_auroc: float
    threshold: float
    known_called: float
    called: Mapping[str, float]
    counts: Mapping[str, int]


def measure(unknown: Floats, kinds: Sequence[str], known: Floats, threshold: float) -> UnknownFigures:
    """All figures of a score.

    Args:
        unknown: scores (N,) of pictures without a scene.
        kinds: the kind of each of them.
        known: scores (M,) of pictures with one.
        threshold: above it a picture is called unknown.

    Raises:
        ValueError: no scores, a score that is no number, lengths that differ, or no kind besides those of `APART`.
    """
    by_kind = _by_kind(unknown, kinds)
    auroc = {kind: unknown_auroc(scores, known) for kind, scores in by_kind.items()}
    return UnknownFigures(
        auroc=auroc,
        mean_auroc=mean_over_kinds(auroc),
        threshold=threshold,
        known_called=share_called(known, threshold),
        called={kind: share_called(scores, threshold) for kind, scores in by_kind.items()},
        counts={kind: len(scores) for kind, scores in by_kind.items()} | {"known": len(known)},
    )


def unknown_auroc(unknown: Floats, known: Floats) -> float:
    """Area under the ROC curve: how often an unknown picture scores above a known one, a tie being half.

    Exact: the Mann-Whitney statistic over all N×M pairs (Hanley & McNeil, Radiology 143, 1982).
    """
    _check(unknown, known)
    ordered = np.sort(known)
    below, not_above = (np.searchsorted(ordered, unknown, side=side).sum(dtype=np.int64) for side in ("left", "right"))
    # Whole numbers until the one division, so that no rounding of terms adds up.
    return float((int(below) + int(not_above)) / (2 * len(unknown) * len(known)))


def mean_over_kinds(by_kind: Mapping[str, float]) -> float:
    """Mean of a figure over the kinds, each counting alike however many pictures it has, without those of `APART`."""
    counted = [value for kind, value in by_kind.items() if kind not in APART]
    if not counted:
        raise ValueError(f"no kind to take the mean over among {sorted(by_kind)}")
    return float(np.mean(counted))


def share_called(scores: Floats, threshold: float) -> float:
    """Share of pictures that are called unknown: those whose score is above the threshold."""
    _check(scores)
    return float((scores > threshold).mean())


def threshold_for(known: Floats, share: float) -> float:
    """The lowest of the scores that, as a threshold, calls at most `share` (0..1) of the known pictures unknown."""
    _check(known)
    if not 0 <= share <= 1:
        raise ValueError(f"a share is 0..1, not {share}")
    ordered = np.sort(known)
    kept = len(ordered) - int(np.floor(share * len(ordered) + 1e-9))
    return float(ordered[max(kept, 1) - 1])


def _by_kind(scores: Floats, kinds: Sequence[str]) -> dict[str, Floats]:
    if len(scores) != len(kinds):
        raise ValueError(f"each score needs a kind: {len(scores)} scores, {len(kinds)} kinds")
    names = np.array(kinds)
    return {kind: scores[names == kind] for kind in sorted(set(kinds))}


def _check(*all_scores: Floats) -> None:
    for scores in all_scores:
        if scores.ndim != 1 or not len(scores) or np.isnan(scores).any():
            raise ValueError(f"scores are (N,) numbers, N at least 1, none of them NaN, not {scores.shape}")
