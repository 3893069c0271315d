"""A 3x3 convolution over all levels of a feature pyramid, which are enlarged to the finest level's size.

The plain way enlarges every level, concatenates them and convolves: 9 C O H W multiply-adds a level. But mixing
channels and bilinear enlargement commute, since both are linear and act on different axes. Let A (H, h) enlarge a
column of a level X and B (W, w) a row; let P(k) shift by k - 1 places and fill up with zeros, as the convolution's
padding does; let K(i, j) be the weight (O, C) of the tap in row i and column j. Then the level adds to the result

    sum over i, j of P(i) A [K(i, j) X] (P(j) B)^T  =  sum over i of P(i) A [sum over j of [K(i, j) X] (P(j) B)^T]

where K works on channels, the other matrices on rows and columns. So each tap is mixed at the level's own size,
9 C O h w multiply-adds, and each of the two sums is, with its enlargement, shift and border, one product with a matrix
that depends on sizes alone. That is exact for all sizes, up to rounding. Of UPerNet's 78 G multiply-adds for a picture
of 320x416, 28 G are left.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.winograd import WinogradConv

__all__ = ["PyramidConv", "enlarging_taps"]

_TAPS = 3  # a side of the kernel


class PyramidConv(nn.Conv2d):
    """Convolution 3x3 without bias over levels of as many channels each, at the size of the finest.

    Args:
        levels: L; the weight is that of a plain convolution over the L * C channels, the finest level's first.
        channels: C of each level.
        outputs: O.
    """

    def __init__(self, levels: int, channels: int, outputs: int) -> None:
        super().__init__(levels * channels, outputs, _TAPS, padding=_TAPS // 2, bias=False)
        self.channels = channels
        self.of_finest: nn.Module | None = None

    def quicken(self) -> None:
        """Convolve the finest level in Winograd's way from now on: for inference, with a copy of the weight."""
        self.of_finest = WinogradConv(self.weight[:, : self.channels])

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:  # type: ignore[override]
        """(B, O, H, W) of L levels, (B, C, H, W) first and the others (B, C, h, w) no larger."""
        finest, *coarser = pyramid
        own, *others = torch.split(self.weight, self.channels, 1)
        result = F.conv2d(finest, own, padding=1) if self.of_finest is None else self.of_finest(finest)
        for level, weight in zip(coarser, others, strict=True):
            result = result + _enlarged_conv(level, weight, finest.shape[2], finest.shape[3])
        return result


def enlarging_taps(size: int, wanted: int, like: Tensor) -> Tensor:
    """P(k) A for the three taps k: (wanted, 3, size), of the device and dtype of `like`.

    Entry (y, k, i) is what sample i of `size` gives to place y + k - 1 of `wanted`, when enlarged bilinearly with
    align_corners=False; 0 where that place lies outside.
    """
    place = _count(wanted, like)[:, None] + _count(_TAPS, like) - 1
    seen = ((place + 0.5) * (size / wanted) - 0.5).clamp(0, size - 1)
    share = (1 - (seen[..., None] - _count(size, like)).abs()).clamp(min=0)
    inside = (place >= 0) & (place < wanted)
    return share * inside[..., None]


def _count(size: int, like: Tensor) -> Tensor:
    return torch.arange(size, dtype=like.dtype, device=like.device)


def _enlarged_conv(level: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
    """`conv2d` of a level (B, C, h, w) enlarged to height x width: (B, O, height, width), channels last in memory."""
    outputs, (h, w) = weight.shape[0], level.shape[2:]
    rows_of_taps = weight.permute(2, 1, 3, 0).flatten(2)  # (3, C, 3 O)
    mixed = level.flatten(2).transpose(1, 2)[:, None] @ rows_of_taps  # (B, 3, h w, 3 O)
    across = enlarging_taps(w, width, level).transpose(1, 2).flatten(1)  # (W, w 3)
    wide = across @ mixed.reshape(-1, _TAPS, h, w * _TAPS, outputs)  # (B, 3, h, W, O)
    down = enlarging_taps(h, height, level).flatten(1)  # (H, 3 h)
    whole = down @ wide.reshape(-1, _TAPS * h, width * outputs)  # (B, H, W O)
    return whole.reshape(-1, height, width, outputs).permute(0, 3, 1, 2)
