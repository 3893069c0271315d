"""The semantic tensor of the reference method: per pixel the three best classes and their probabilities.

Two arrays of bytes hold them, as two PNGs do on disk: `labels` and `scores` (round(255 p)). `scatter_top3` spreads them
over channels, `T[label_k + 1] = score_k / 255` for k = 1..3 in that order ("Semantic-Aware Scene Recognition",
arXiv 1909.02410, and its public implementation). Only numpy is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SEMANTIC_CLASSES", "LabelBase", "SemanticMap", "exact_top3", "scatter_top3", "top3"]

SEMANTIC_CLASSES = 151  # as the reference counts them: 150 ADE20K classes and one for none
_KEPT = 3
_FULL_SCORE = 255


class LabelBase(IntEnum):
    """How a label value stands for an ADE20K class id (1..150): value = id - 1 + base.

    The released PNGs do not say theirs. Reading never needs to know it (the channel is the value + 1); writing does.
    """

    ZERO = 0  # wall, id 1, is 0
    ONE = 1  # wall is 1, and 0 is "none"


class SemanticMap(NamedTuple):
    """The three best classes of every pixel of a picture, best first, and their probabilities."""

    labels: NDArray[np.uint8]  # (3, H, W) label values, of either base
    scores: NDArray[Any]  # (3, H, W) uint8 round(255 p), as files have them; or float32, p itself


def top3(
    probabilities: NDArray[np.floating], class_ids: Sequence[int], base: LabelBase = LabelBase.ZERO
) -> SemanticMap:
    """The three most probable classes of every pixel, best first; of equal ones the earlier channel.

    Channels with class id 0 ("none") are left out, since a label cannot say it in base 0. With fewer than three
    classes the last one is repeated, which scatters to the same tensor.

    Args:
        probabilities: (K, H, W) in 0..1, one channel per class.
        class_ids: the ADE20K id (1..150, or 0 for none) of each of the K channels.
        base: how ids become label values.

    Returns:
        labels (3, H, W) uint8 and scores (3, H, W) uint8, round(255 p).

    Raises:
        ValueError: shapes that do not fit, an id out of range, no class to choose from, or a probability that is NaN.
    """
    ids = np.asarray(class_ids, dtype=np.intp)
    _check_channels(probabilities, ids)
    left = np.array(probabilities[ids > 0], dtype=np.float32)
    values = (ids[ids > 0] - 1 + base).astype(np.uint8)
    labels = np.empty((_KEPT, *left.shape[1:]), np.uint8)
    scores = np.empty_like(labels)
    for k in range(_KEPT):
        if k >= len(values):
            labels[k], scores[k] = labels[k - 1], scores[k - 1]
            continue
        best = left.argmax(0)[None]
        p = np.take_along_axis(left, best, 0)[0]
        if np.isnan(p).any():
            raise ValueError("a probability is NaN: the segmenter's output is broken")
        labels[k] = values[best[0]]
        scores[k] = np.rint(_FULL_SCORE * p.clip(0, 1))
        np.put_along_axis(left, best, -np.inf, 0)
    return SemanticMap(labels, scores)


def exact_top3(
    probabilities: NDArray[np.floating], class_ids: Sequence[int], base: LabelBase = LabelBase.ZERO
) -> SemanticMap:
    """`top3` without the rounding to 8 bits: the scores are float32 in 0..1."""
    labels = top3(probabilities, class_ids, base).labels
    channels = np.zeros(SEMANTIC_CLASSES, np.intp)  # of each label value
    for channel, class_id in enumerate(class_ids):
        if class_id > 0:
            channels[class_id - 1 + base] = channel
    return SemanticMap(labels, np.take_along_axis(probabilities, channels[labels], axis=0).astype(np.float32))


def scatter_top3(
    labels: NDArray[np.uint8],
    scores: NDArray[np.uint8] | NDArray[np.floating],
    semantic_classes: int = SEMANTIC_CLASSES,
) -> NDArray[np.float32]:
    """Spread labels and scores over channels; where a pixel has a label twice, the last one wins.

    Args:
        labels: (3, H, W) integer label values, of either base.
        scores: (3, H, W) uint8 (255 is 1.0), or floating point that is taken as it is.
        semantic_classes: S; the tensor has S + 1 channels, so labels are at most S - 1.

    Returns:
        (S + 1, H, W) float32; channel label + 1 has the score, all others are 0.

    Raises:
        ValueError: shapes that do not fit, or a label without a channel.
    """
    _check_top3(labels, scores, semantic_classes)
    height, width = labels.shape[1:]
    tensor = np.zeros((semantic_classes + 1, height * width), np.float32)
    pixels = np.arange(height * width)
    is_coded = not np.issubdtype(scores.dtype, np.floating)
    strengths = scores.astype(np.float32) / (_FULL_SCORE if is_coded else 1)
    for label, strength in zip(labels, strengths, strict=True):
        tensor[label.ravel().astype(np.intp) + 1, pixels] = strength.ravel()
    return tensor.reshape(-1, height, width)


def _check_channels(probabilities: NDArray[np.floating], ids: NDArray[np.intp]) -> None:
    if probabilities.ndim != 3 or probabilities.shape[0] != ids.size:
        raise ValueError(f"{ids.size} class ids need probabilities ({ids.size}, H, W), not {probabilities.shape}")
    if ids.size and not (ids.min() >= 0 and ids.max() < SEMANTIC_CLASSES):
        raise ValueError(f"ADE20K class ids are 1..150, or 0 for none, not {ids.min()}..{ids.max()}")
    if not (ids > 0).any():
        raise ValueError("there is no class to choose from: every class id is 0")


def _check_top3(labels: NDArray[np.uint8], scores: NDArray[np.generic], semantic_classes: int) -> None:
    if labels.ndim != 3 or labels.shape[0] != _KEPT or labels.shape != scores.shape:
        raise ValueError(f"labels and scores are both ({_KEPT}, H, W), not {labels.shape} and {scores.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are whole numbers, not {labels.dtype}: resize them with nearest, never bilinear")
    if labels.size and not (labels.min() >= 0 and labels.max() < semantic_classes):
        raise ValueError(
            f"label {labels.min() if labels.min() < 0 else labels.max()} has no channel: with semantic_classes="
            f"{semantic_classes} labels are 0..{semantic_classes - 1}; is this the PNG of labels, not of scores?"
        )
