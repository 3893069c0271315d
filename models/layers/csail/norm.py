"""Batch norm as the checkpoints of the MIT scene-parsing project store it, and what is built of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# Running sums that the project's synchronised batch norm kept in training. Inference never reads them.
_BOOKKEEPING = ("_tmp_running_mean", "_tmp_running_var", "_running_iter")


class SyncNorm(nn.BatchNorm2d):
    """Batch norm with three more buffers, of which some releases of the checkpoints have none: they may be missing."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        values = (torch.zeros(channels), torch.ones(channels), torch.ones(1))
        for name, value in zip(_BOOKKEEPING, values, strict=True):
            self.register_buffer(name, value)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in _BOOKKEEPING:
            state_dict.setdefault(prefix + name, self.get_buffer(name))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def conv_norm_relu(inputs: int, outputs: int, kernel: int = 1) -> nn.Sequential:
    """Convolution that keeps the size, without bias; batch norm; ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), SyncNorm(outputs), nn.ReLU(inplace=True)
    )


def dilate(part: nn.Module, rate: int) -> None:
    """Keep the resolution of `part`, and give its 3x3 convolutions the view that the lost strides gave them.

    The convolution that had the stride sees the finer map first, so it gets half the rate; what follows, all of it.
    """
    for conv in part.modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        had_stride = conv.stride == (2, 2)
        conv.stride = (1, 1)
        if conv.kernel_size == (3, 3):
            own = rate // 2 if had_stride else rate
            conv.dilation = conv.padding = (own, own)
