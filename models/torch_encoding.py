"""`models.encoding.top3` on a torch device, so that only the result leaves it; bit for bit the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.encoding import LabelBase, SemanticMap

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
    values = (ids[ids > 0] - 1 + int(base)).to(torch.uint8)
    labels, scores = [], []
    for _ in range(_KEPT):
        p, best = left.max(0)
        labels.append(values[best])
        scores.append((p.clamp(0, 1) * _FULL_SCORE).round().to(torch.uint8))
        left.scatter_(0, best[None], -torch.inf)
        if torch.isnan(p).any():
            raise ValueError("a probability is NaN: the segmenter's output is broken")
    return SemanticMap(torch.stack(labels).cpu().numpy(), torch.stack(scores).cpu().numpy())
