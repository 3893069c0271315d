"""What is told of a model that learnt the user's scenes: figures with counts, and what to do where it is weak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools import metrics
from tools.train.own.features import Rows

_WEAK = 0.8  # a scene of which less is named right gets advice
_MANY = 100  # pictures of a scene; where they did not help, more of them will not either
_PAIRS = 8  # confused pairs that are listed
_MISTAKES = 50  # wrong pictures that are listed, the surest first


class Measured(NamedTuple):
    """What a model said about pictures that it did not learn from."""

    probabilities: NDArray[np.float64]  # (N, C)
    targets: Rows  # (N,)
    paths: Sequence[str]


def figures_of(measured: Measured, labels: Sequence[str], learnt: Sequence[int], threshold: float) -> dict[str, Any]:
    """Top@1 and MCA with their counts, by scene, which scenes are confused, and the surest mistakes; for JSON.

    Args:
        measured: on what.
        labels: the C scenes.
        learnt: (C,) of how many pictures each was learnt.
        threshold: top probability under which a picture is called unknown.
    """
    probabilities, targets, _ = measured
    confusion = metrics.confusion_matrix(probabilities.argmax(axis=1), targets, len(labels))
    shares = metrics.class_accuracies(confusion)
    right = int(np.diag(confusion).sum())
    return {
        "count": len(targets),
        "right": right,
        "top1": right / len(targets),
        "mca": metrics.mean_class_accuracy(confusion),
        "ece": metrics.calibration_error(probabilities, targets),
        "unknown_share": float((probabilities.max(axis=1) < threshold).mean()),
        "classes": {
            label: {
                "learnt": int(learnt[i]),
                "count": int(confusion[i].sum()),
                "right": int(confusion[i, i]),
                "top1": None if np.isnan(shares[i]) else float(shares[i]),
            }
            for i, label in enumerate(labels)
        },
        "confused": _confused(confusion, labels),
        "mistakes": _mistakes(measured, labels),
        "labels": list(labels),
        "confusion": confusion.tolist(),
    }


def advice(figures: dict[str, Any]) -> list[str]:
    """What to do about each weak scene, a sentence or two."""
    told = []
    for scene, row in figures["classes"].items():
        if row["top1"] is None or row["top1"] >= _WEAK:
            continue
        taken = [(other, count) for true, other, count in figures["confused"] if true == scene]
        likes = f", {taken[0][1]} taken for {taken[0][0]}" if taken else ""
        text = f"{scene}: {row['right']} of {row['count']} right{likes}. "
        other = taken[0][0] if taken else "the others"
        if row["learnt"] < _MANY:
            text += (
                f"It was learnt from {row['learnt']} pictures: add more, above all some that could be taken for {other}"
            )
        else:
            text += (
                f"It has pictures enough: look through the mistakes in report.json for wrongly sorted ones; if the eye "
                f"cannot tell it from {other} either, make them one scene"
            )
        told.append(text)
    return told


def report_lines(report: dict[str, Any]) -> list[str]:
    """The report in words, for a terminal."""
    calibration, measured = report["calibration"], report["figures"]
    head = f"{report['model']}: {len(measured['labels'])} scenes, from {report['start']}"
    lines = [
        head,
        f"measured on {report['measured_on']}: Top@1 {measured['top1']:.3f} ({measured['right']} of "
        f"{measured['count']}), MCA {measured['mca']:.3f} ({len(measured['labels'])} scenes)",
        "",
        f"{'scene':<24} {'learnt':>6} {'count':>6} {'right':>6} {'Top@1':>7}",
    ]
    for scene, row in measured["classes"].items():
        share = "      -" if row["top1"] is None else f"{row['top1']:7.3f}"
        lines.append(f"{scene:<24} {row['learnt']:>6} {row['count']:>6} {row['right']:>6} {share}")
    if measured["confused"]:
        lines += ["", "most confused:"]
        lines += [f"  {true} taken for {other}: {count}" for true, other, count in measured["confused"]]
    lines += [
        "",
        f"temperature {calibration['temperature']:.3f}; unknown under {calibration['unknown_threshold']:.3f}, which is "
        f"{measured['unknown_share']:.1%} of these pictures",
    ]
    for title, sentences in (("note", report["notes"]), ("weak", report["advice"])):
        lines += [f"{title}: {sentence}" for sentence in sentences]
    return lines


def _confused(confusion: NDArray[np.int64], labels: Sequence[str]) -> list[tuple[str, str, int]]:
    """(true scene, what it was taken for, how often), the most frequent first."""
    pairs = [(labels[i], labels[j], int(confusion[i, j])) for i, j in np.argwhere(confusion) if i != j]
    return sorted(pairs, key=lambda pair: -pair[2])[:_PAIRS]


def _mistakes(measured: Measured, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Wrongly named pictures, the surest first: those sorted into a wrong folder are among them."""
    said, sure = measured.probabilities.argmax(axis=1), measured.probabilities.max(axis=1)
    wrong = np.flatnonzero(said != measured.targets)
    return [
        {
            "path": measured.paths[i],
            "scene": labels[measured.targets[i]],
            "said": labels[said[i]],
            "p": round(float(sure[i]), 4),
        }
        for i in wrong[np.argsort(-sure[wrong], kind="stable")][:_MISTAKES]
    ]
