"""The two branches of the reference method, without their heads, and what its networks share.

"Semantic-Aware Scene Recognition" (arXiv 1909.02410). Parameter names are those of its public checkpoints, where the
parts of both branches lie side by side in one network; hence functions that return parts, rather than branch modules.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet50

from config.errors import UnknownPluginError
from models.layers.channel_attention import ChannelAttention
from models.layers.semantic_stem import SemanticConv, Top3

SIDE = 224  # pixels; 7x7 features, of which the attention module leaves 3x3
SEMANTIC_FEATURES = 512  # channels of the semantic branch's output
_STEM_CHANNELS = 64
_DROPOUT = 0.3

_BACKBONES = {"resnet18": resnet18, "resnet50": resnet50}


class RGBParts(NamedTuple):
    """A ResNet cut into the stem (`in_block`) and its four layers (`encoder1`..`encoder4`)."""

    stem: nn.Sequential
    layers: tuple[nn.Sequential, nn.Sequential, nn.Sequential, nn.Sequential]
    channels: int  # of the last layer's output, at 7x7


def rgb_parts(backbone: str) -> RGBParts:
    """The RGB branch's parts with random weights.

    Args:
        backbone: "resnet18" (512 channels out) or "resnet50" (2048).

    Raises:
        UnknownPluginError: another backbone; the message lists the known ones.
    """
    if backbone not in _BACKBONES:
        raise UnknownPluginError("backbone", backbone, list(_BACKBONES))
    resnet: ResNet = _BACKBONES[backbone](weights=None)
    stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
    layers = (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)
    return RGBParts(stem, layers, resnet.fc.in_features)


def semantic_stem(semantic_classes: int) -> nn.Sequential:
    """`in_block_sem`: the semantic tensor (B, S + 1, 224, 224), or its `Top3`, to (B, 64, 56, 56)."""
    return nn.Sequential(
        SemanticConv(semantic_classes, _STEM_CHANNELS),
        nn.BatchNorm2d(_STEM_CHANNELS),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


class SemanticBlock(nn.Module):
    """Halve a map and double its channels, weighted by channel attention before the ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.ca = ChannelAttention(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        y: Tensor = self.relu(self.ca(x) * x)
        return y


def gate_conv(inputs: int, outputs: int) -> nn.Sequential:
    """One of the attention module's convolutions: 3x3 without padding, so a map loses a pixel on every side."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )  # fmt: skip


def pooled(features: Tensor) -> Tensor:
    """(B, C, H, W) averaged over the map: (B, C)."""
    return features.mean((2, 3))


def head_dropout() -> nn.Dropout:
    """The dropout in front of every head."""
    return nn.Dropout(_DROPOUT)


def check_rgb(rgb: Tensor) -> None:
    """Refuse what is not (B, 3, 224, 224).

    Raises:
        ValueError: the message says what to do.
    """
    if rgb.ndim != 4 or rgb.shape[1:] != (3, SIDE, SIDE):
        raise ValueError(
            f"the picture must be (B, 3, {SIDE}, {SIDE}), not {tuple(rgb.shape)}: resize the short side, crop {SIDE}x"
            f"{SIDE}, put channels first and add the batch axis"
        )


def check_semantic(semantic: Tensor | Top3, semantic_classes: int) -> None:
    """Refuse what is neither (B, S + 1, 224, 224) nor `Top3` of it.

    Raises:
        ValueError: the message says what to do.
    """
    if isinstance(semantic, Top3):
        _check_top3(semantic, semantic_classes)
        return
    channels = semantic_classes + 1
    if semantic.ndim != 4 or semantic.shape[1:] != (channels, SIDE, SIDE):
        raise ValueError(
            f"the semantic tensor must be (B, {channels}, {SIDE}, {SIDE}), not {tuple(semantic.shape)}: "
            f"models.encoding.scatter_top3 makes {channels} channels for semantic_classes={semantic_classes}; "
            "crop it like the picture"
        )


def _check_top3(semantic: Top3, semantic_classes: int) -> None:
    labels, scores = semantic
    if labels.ndim != 4 or labels.shape[1:] != (3, SIDE, SIDE) or labels.shape != scores.shape:
        raise ValueError(
            f"labels and scores must both be (B, 3, {SIDE}, {SIDE}), not {tuple(labels.shape)} and "
            f"{tuple(scores.shape)}: crop them like the picture"
        )
    if labels.is_floating_point() or not scores.is_floating_point():
        raise ValueError(f"labels are whole numbers and scores floating point, not {labels.dtype} and {scores.dtype}")
    low, high = (int(bound) for bound in labels.aminmax()) if labels.numel() else (0, 0)
    if low < 0 or high >= semantic_classes:
        raise ValueError(
            f"label {low if low < 0 else high} has no channel: with semantic_classes={semantic_classes} labels are "
            f"0..{semantic_classes - 1}"
        )
