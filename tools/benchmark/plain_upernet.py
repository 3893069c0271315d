"""UPerNet on ResNet-50 as one would write it down: the baseline's segmenter, eager float32, plain for ever.

Xiao et al., "Unified Perceptual Parsing for Scene Understanding" (arXiv 1807.10221), with the parameter names of the
MIT scene-parsing project. What is done in `models.segmenters` to make that network faster is not done here: this is
what it is compared with. A test holds that both give the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BLOCKS = (3, 4, 6, 3)
_CHANNELS = (256, 512, 1024, 2048)
_POOLS = (1, 2, 3, 6)
_WIDTH = 512
_CLASSES = 150


class PlainUPerNet(nn.Module):
    """Probabilities (B, 150, *size) of pictures (B, 3, H, W) float32, normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _ResNet50()
        self.decoder = _Decoder()

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Softmax of the scores at `size`, (height, width)."""
        scores = self.decoder(self.encoder(x))
        return F.interpolate(scores, size, mode="bilinear", align_corners=False).softmax(1)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.downsample: Any = None
        if stride > 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(_conv(inputs, 4 * width, 1, stride), nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class _ResNet50(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 64, 3, 2), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = _conv(64, 64, 3), nn.BatchNorm2d(64)
        self.conv3, self.bn3 = _conv(64, 128, 3), nn.BatchNorm2d(128)
        inputs = 128
        for i in range(4):
            width, stride = _CHANNELS[i] // 4, 1 if i == 0 else 2
            blocks = [_Bottleneck(inputs, width, stride)]
            blocks += [_Bottleneck(_CHANNELS[i], width, 1) for _ in range(_BLOCKS[i] - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            inputs = _CHANNELS[i]

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        features = []
        for i in range(4):
            x = self.get_submodule(f"layer{i + 1}")(x)
            features.append(x)
        return features


def _conv_bn_relu(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, outputs, kernel), nn.BatchNorm2d(outputs), nn.ReLU())


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


class _Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ppm_conv = nn.ModuleList(_conv_bn_relu(_CHANNELS[3], _WIDTH, 1) for _ in _POOLS)
        self.ppm_last_conv = _conv_bn_relu(_CHANNELS[3] + len(_POOLS) * _WIDTH, _WIDTH, 3)
        self.fpn_in = nn.ModuleList(_conv_bn_relu(channels, _WIDTH, 1) for channels in _CHANNELS[:3])
        self.fpn_out = nn.ModuleList(nn.Sequential(_conv_bn_relu(_WIDTH, _WIDTH, 3)) for _ in range(3))
        self.conv_last = nn.Sequential(_conv_bn_relu(4 * _WIDTH, _WIDTH, 3), nn.Conv2d(_WIDTH, _CLASSES, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        coarsest = features[3]
        pooled = [coarsest]
        for side, conv in zip(_POOLS, self.ppm_conv, strict=True):
            pooled.append(conv(_resized(F.adaptive_avg_pool2d(coarsest, side), coarsest)))
        top = self.ppm_last_conv(torch.cat(pooled, 1))
        levels = [top]
        for i in (2, 1, 0):
            lateral = self.fpn_in[i](features[i])
            top = lateral + _resized(top, lateral)
            levels.insert(0, self.fpn_out[i](top))
        scores: Tensor = self.conv_last(torch.cat([_resized(level, levels[0]) for level in levels], 1))
        return scores
