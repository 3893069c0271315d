"""MobileNetV2, dilated to stride 8. Sandler et al., "MobileNetV2" (arXiv 1801.04381)."""

from __future__ import annotations

from torch import Tensor, nn

from models.layers.csail.norm import SyncNorm, dilate

STRIDE = 8
CHANNELS = 320  # of the output

# expansion, output channels, repeats, stride of the first
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, CHANNELS, 1, 1),
)
_STEM_CHANNELS = 32
_AT_16, _AT_32 = 7, 14  # the blocks where the undilated network goes to strides 16 and 32


class InvertedResidual(nn.Module):
    """Widen by 1x1, convolve each channel, narrow by 1x1; added to the input where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(inputs, wide, 1, bias=False), SyncNorm(wide), nn.ReLU6(inplace=True)]
        layers += [
            nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False),
            SyncNorm(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, outputs, 1, bias=False),
            SyncNorm(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class DilatedMobileNetV2(nn.Module):
    """Features (B, 320, H/8, W/8) of pictures (B, 3, H, W), as a list of one."""

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Sequential(
            nn.Conv2d(3, _STEM_CHANNELS, 3, 2, padding=1, bias=False), SyncNorm(_STEM_CHANNELS), nn.ReLU6(inplace=True)
        )
        self.features = nn.Sequential(stem, *_blocks())
        for number in range(_AT_16, len(self.features)):
            dilate(self.features[number], 2 if number < _AT_32 else 4)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.features(x)]


def _blocks() -> list[InvertedResidual]:
    blocks, inputs = [], _STEM_CHANNELS
    for expansion, outputs, repeats, stride in _STAGES:
        for i in range(repeats):
            blocks.append(InvertedResidual(inputs, outputs, stride if i == 0 else 1, expansion))
            inputs = outputs
    return blocks
