"""`models.encoding.top3` on a torch device, so that only the result leaves it; bit for bit the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.encoding import LabelBase, SemanticMap

NAN_FOUND = "a probability is NaN: the segmenter's output is broken"

_KEPT = 3
_FULL_SCORE = 255


def top3_on_device(probabilities: Tensor, class_ids: Sequence[int], base: LabelBase = LabelBase.ZERO) -> SemanticMap:
    """The three most probable classes of every pixel, best first; of equal ones the earlier channel.

    Args:
        probabilities: (K, H, W) float32 in 0..1, on any device.
        class_ids: the ADE20K id (1..150, or 0 for none) of each channel; three of them at least are no 0.
        base: how ids become label values.

    Raises:
        ValueError: a probability is NaN.
    """
    ids = torch.tensor(class_ids, device=probabilities.device)
    left = probabilities[ids > 0]  # a copy
    labels, best = best_three(left, label_values(class_ids, base, probabilities.device))
    if torch.isnan(best).any():
        raise ValueError(NAN_FOUND)
    return SemanticMap(labels.cpu().numpy(), eight_bit(best).cpu().numpy())


def best_three(left: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Labels (3, H, W) and probabilities (3, H, W) of the most probable classes; of equal ones the earlier channel.

    Args:
        left: probabilities (K, H, W) of K >= 3 classes; it is used up.
        values: (K,) uint8 label of each channel.
    """
    labels, scores = [], []
    for _ in range(_KEPT):
        p, best = left.max(0)
        labels.append(values[best])
        scores.append(p)
        left.scatter_(0, best[None], -torch.inf)
    return torch.stack(labels), torch.stack(scores)


def label_values(class_ids: Sequence[int], base: LabelBase, device: torch.device | str) -> Tensor:
    """(K,) uint8 on the device: the label of each class that has one."""
    return torch.tensor([i - 1 + int(base) for i in class_ids if i > 0], dtype=torch.uint8, device=device)


def eight_bit(probabilities: Tensor) -> Tensor:
    """round(255 p), uint8."""
    return (probabilities.clamp(0, 1) * _FULL_SCORE).round().to(torch.uint8)
