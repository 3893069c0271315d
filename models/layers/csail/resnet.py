"""ResNet-50 with a stem of three convolutions, plain or dilated.

He et al., "Deep Residual Learning" (arXiv 1512.03385); the stem is that of Zhao et al., "Pyramid Scene Parsing Network"
(arXiv 1612.01105).
"""

from __future__ import annotations

from torch import Tensor, nn

from models.layers.csail.norm import SyncNorm, dilate

STRIDE = 32
DILATED_STRIDE = 8
CHANNELS = (256, 512, 1024, 2048)  # of the four layers' outputs

_BLOCKS = (3, 4, 6, 3)
_EXPANSION = 4
_STEM = (64, 64, 128)


class Bottleneck(nn.Module):
    """1x1, 3x3 (which has the stride), 1x1; added to the input."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = SyncNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = SyncNorm(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = SyncNorm(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), SyncNorm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        z: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return z


class ResNet50(nn.Module):
    """Features of pictures (B, 3, H, W) after each of the four layers.

    Their strides are 4, 8, 16 and 32; dilated, the last two are 8 as well.
    """

    def __init__(self, *, dilated: bool = False) -> None:
        super().__init__()
        inputs = 3
        for number, outputs in enumerate(_STEM, start=1):
            stride = 2 if number == 1 else 1
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False))
            self.add_module(f"bn{number}", SyncNorm(outputs))
            inputs = outputs
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for number, (outputs, blocks) in enumerate(zip(CHANNELS, _BLOCKS, strict=True), start=1):
            self.add_module(f"layer{number}", _layer(inputs, outputs, blocks, 1 if number == 1 else 2))
            inputs = outputs
        if dilated:
            dilate(self.get_submodule("layer3"), 2)
            dilate(self.get_submodule("layer4"), 4)

    def forward(self, x: Tensor) -> list[Tensor]:
        for number in range(1, len(_STEM) + 1):
            x = self.relu(self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(x)))
        x = self.maxpool(x)
        features = []
        for number in range(1, len(CHANNELS) + 1):
            x = self.get_submodule(f"layer{number}")(x)
            features.append(x)
        return features


def _layer(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    width = outputs // _EXPANSION
    return nn.Sequential(Bottleneck(inputs, width, stride), *(Bottleneck(outputs, width, 1) for _ in range(blocks - 1)))
