"""Channel attention: which channels matter, judged by their average and their peak.

Woo et al., "CBAM" (arXiv 1807.06521), with the two 1x1 convolutions named as in the reference's checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelAttention(nn.Module):
    """Weight of every channel of (B, C, H, W), as (B, C, 1, 1) in 0..1; the caller multiplies."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        average = self._judge(F.adaptive_avg_pool2d(x, 1))
        peak = self._judge(F.adaptive_max_pool2d(x, 1))
        return torch.sigmoid(average + peak)

    def _judge(self, pooled: Tensor) -> Tensor:
        judged: Tensor = self.fc2(F.relu(self.fc1(pooled)))
        return judged
