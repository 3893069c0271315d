"""The three decoders: from an encoder's features to class logits (B, 150, h, w).

Two of them have a second head, which in training looked at the features before the last ("deep supervision"). Its
weights are in the checkpoints, so it is built; inference does not run it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.csail.norm import conv_norm_relu
from models.layers.csail.pyramid_conv import PyramidConv
from models.layers.winograd import WinogradConv

CLASSES = 150
_POOL_SIDES = (1, 2, 3, 6)
_WIDTH = 512


class UPerNet(nn.Module):
    """Pyramid pooling on the coarsest features, a feature pyramid, all of it fused at stride 4.

    Xiao et al., "Unified Perceptual Parsing for Scene Understanding" (arXiv 1807.10221).
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        *finer, coarsest = channels
        self.ppm_conv = nn.ModuleList(conv_norm_relu(coarsest, _WIDTH) for _ in _POOL_SIDES)
        self.ppm_last_conv = conv_norm_relu(coarsest + len(_POOL_SIDES) * _WIDTH, _WIDTH, 3)
        self.fpn_in = nn.ModuleList(conv_norm_relu(inputs, _WIDTH) for inputs in finer)
        self.fpn_out = nn.ModuleList(nn.Sequential(conv_norm_relu(_WIDTH, _WIDTH, 3)) for _ in finer)
        fusion = conv_norm_relu(len(channels) * _WIDTH, _WIDTH, 3)
        fusion[0] = PyramidConv(len(channels), _WIDTH, _WIDTH)
        self.conv_last = nn.Sequential(fusion, nn.Conv2d(_WIDTH, CLASSES, 1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        *finer, coarsest = features
        pooled = [coarsest]
        for side, conv in zip(_POOL_SIDES, self.ppm_conv, strict=True):
            pooled.append(conv(_resize(F.adaptive_avg_pool2d(coarsest, side), coarsest)))
        top = self.ppm_last_conv(torch.cat(pooled, 1))
        pyramid = [top]
        for i in reversed(range(len(finer))):
            lateral = self.fpn_in[i](finer[i])
            top = lateral + _resize(top, lateral)
            pyramid.insert(0, self.fpn_out[i](top))
        logits: Tensor = self.conv_last(pyramid)
        return logits

    def quicken(self) -> None:
        """Take Winograd's way with the large 3x3 convolutions: for inference in float32, with copies of the weights."""
        for out in self.fpn_out:
            out.set_submodule("0.0", WinogradConv(out.get_parameter("0.0.weight")))
        fusion = self.conv_last.get_submodule("0.0")
        assert isinstance(fusion, PyramidConv)
        fusion.quicken()


class PyramidPooling(nn.Module):
    """Pyramid pooling and one convolution. Zhao et al., "Pyramid Scene Parsing Network" (arXiv 1612.01105)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ppm = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), *conv_norm_relu(channels, _WIDTH)) for side in _POOL_SIDES
        )
        self.cbr_deepsup = conv_norm_relu(channels // 2, _WIDTH, 3)
        self.conv_last = nn.Sequential(
            *conv_norm_relu(channels + len(_POOL_SIDES) * _WIDTH, _WIDTH, 3),
            nn.Dropout2d(0.1),
            nn.Conv2d(_WIDTH, CLASSES, 1),
        )
        self.conv_last_deepsup = nn.Conv2d(_WIDTH, CLASSES, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = features[-1]
        logits: Tensor = self.conv_last(torch.cat([x, *(_resize(branch(x), x) for branch in self.ppm)], 1))
        return logits


class OneConv(nn.Module):
    """A 3x3 convolution and the class layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 4
        self.cbr = conv_norm_relu(channels, width, 3)
        self.cbr_deepsup = conv_norm_relu(channels // 2, width, 3)
        self.conv_last = nn.Conv2d(width, CLASSES, 1)
        self.conv_last_deepsup = nn.Conv2d(width, CLASSES, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.conv_last(self.cbr(features[-1]))
        return logits


def _resize(x: Tensor, like: Tensor) -> Tensor:
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)
