"""Measures of a classifier. Probabilities are (N, C) float, targets (N,) int in 0..C-1; results are plain floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]

ECE_BINS = 15


def top_k_accuracy(probabilities: Floats, targets: Ints, k: int) -> float:
    """Share of samples whose target is among the k most probable classes; equal ones count in class order."""
    _check(probabilities, targets)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((order == targets[:, None]).any(axis=1).mean())


def confusion_matrix(predictions: Ints, targets: Ints, classes: int) -> NDArray[np.int64]:
    """Counts (C, C): row is the true class, column the predicted one."""
    flat = np.bincount(targets * classes + predictions, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def class_accuracies(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Top@1 of each class (C,), NaN for a class without samples."""
    counts = confusion.sum(axis=1)
    shares = np.full(len(counts), np.nan)
    np.divide(np.diag(confusion), counts, out=shares, where=counts > 0)
    return shares


def mean_class_accuracy(confusion: NDArray[np.int64], absent_as_zero: bool = False) -> float:
    """MCA: the mean of the classes' Top@1, over classes that have samples.

    With `absent_as_zero`, classes without samples count as 0, as in the reference's figures.
    """
    shares = class_accuracies(confusion)
    return float(np.nan_to_num(shares).mean() if absent_as_zero else np.nanmean(shares))


def reliability(probabilities: Floats, targets: Ints, bins: int = ECE_BINS) -> NDArray[np.float64]:
    """What a reliability diagram shows: (bins, 3) count, mean confidence and accuracy of the samples in equal bins.

    Confidence is the top probability; an empty bin has 0 everywhere.
    """
    _check(probabilities, targets)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    sums = [np.bincount(index, weights=of, minlength=bins) for of in (np.ones(len(index)), confidence, correct)]
    counts = np.maximum(sums[0], 1)
    return np.stack([sums[0], sums[1] / counts, sums[2] / counts], axis=1)


def calibration_error(probabilities: Floats, targets: Ints, bins: int = ECE_BINS) -> float:
    """Expected calibration error with equal bins (Guo et al., ICML 2017): mean |accuracy - confidence| over samples."""
    count, confidence, accuracy = reliability(probabilities, targets, bins).T
    return float((count * np.abs(accuracy - confidence)).sum() / len(targets))


def entropy_loss(probabilities: Floats, targets: Ints) -> float:
    """Mean negative log-likelihood in nats."""
    chosen = np.take_along_axis(probabilities, targets[:, None], axis=1)
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def summary(probabilities: Floats, targets: Ints) -> dict[str, float]:
    """The figures that are reported: count, Top@1/2/5, MCA in both readings, ECE."""
    confusion = confusion_matrix(probabilities.argmax(axis=1), targets, probabilities.shape[1])
    return {
        "count": float(len(targets)),
        "top1": top_k_accuracy(probabilities, targets, 1),
        "top2": top_k_accuracy(probabilities, targets, 2),
        "top5": top_k_accuracy(probabilities, targets, 5),
        "mca": mean_class_accuracy(confusion),
        "mca_absent_as_zero": mean_class_accuracy(confusion, absent_as_zero=True),
        "ece": calibration_error(probabilities, targets),
    }


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of logits (N, C) divided by `temperature`."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _check(probabilities: Floats, targets: Ints) -> None:
    if probabilities.ndim != 2 or targets.shape != probabilities.shape[:1] or not len(targets):
        raise ValueError(f"probabilities (N, C) and targets (N,) expected, not {probabilities.shape}, {targets.shape}")
