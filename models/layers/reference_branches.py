"""The two branches of the reference method, without their heads, and what its networks share.

"Semantic-Aware Scene Recognition" (arXiv 1909.02410). Parameter names are those of its public checkpoints, where the
parts of both branches lie side by side in one network; hence branches that a network inherits, rather than contains.
"""

from __future__ import annotations

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


class RGBBranch(nn.Module):
    """What a network with an RGB branch inherits: a ResNet cut into its stem and its four layers."""

    in_block: nn.Sequential
    encoder1: nn.Sequential
    encoder2: nn.Sequential
    encoder3: nn.Sequential
    encoder4: nn.Sequential

    def add_rgb_branch(self, backbone: str) -> int:
        """Add the branch with random weights.

        Args:
            backbone: "resnet18" or "resnet50".

        Returns:
            The channels of its features, 512 or 2048.

        Raises:
            UnknownPluginError: another backbone; the message lists the known ones.
        """
        if backbone not in _BACKBONES:
            raise UnknownPluginError("backbone", backbone, list(_BACKBONES))
        resnet: ResNet = _BACKBONES[backbone](weights=None)
        self.in_block = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        self.encoder1, self.encoder2 = resnet.layer1, resnet.layer2
        self.encoder3, self.encoder4 = resnet.layer3, resnet.layer4
        return int(resnet.fc.in_features)

    def rgb_features(self, rgb: Tensor) -> Tensor:
        """e4, (B, 512 or 2048, 7, 7), of pictures (B, 3, 224, 224), normalised."""
        e4: Tensor = self.encoder4(self.encoder3(self.encoder2(self.encoder1(self.in_block(rgb)))))
        return e4


class SemanticBranch(nn.Module):
    """What a network with a semantic branch inherits."""

    in_block_sem: nn.Sequential
    in_block_sem_1: SemanticBlock
    in_block_sem_2: SemanticBlock
    in_block_sem_3: SemanticBlock

    def add_semantic_branch(self, semantic_classes: int) -> None:
        """Add the branch with random weights for S classes."""
        self.in_block_sem = semantic_stem(semantic_classes)
        self.in_block_sem_1 = SemanticBlock(_STEM_CHANNELS, 128)
        self.in_block_sem_2 = SemanticBlock(128, 256)
        self.in_block_sem_3 = SemanticBlock(256, SEMANTIC_FEATURES)

    def look_up(self, semantic: Tensor | Top3) -> Tensor:
        """The first convolution, (B, 64, 112, 112), of a semantic tensor or its `Top3`."""
        first: Tensor = self.in_block_sem[0](semantic)
        return first

    def semantic_features(self, first: Tensor) -> Tensor:
        """y3, (B, 512, 7, 7), of what `look_up` gives."""
        y0 = self.in_block_sem[1:](first)
        y3: Tensor = self.in_block_sem_3(self.in_block_sem_2(self.in_block_sem_1(y0)))
        return y3


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
