"""EfficientNet-Lite0: an image encoder without squeeze-and-excitation, with ReLU6 throughout.

After Tan and Le, "EfficientNet" (arXiv 1905.11946), in the Lite variant that Google published for mobile devices.
Convolutions of stride 2 pad as TensorFlow's "SAME" does (more at the right and the bottom), because the public
ImageNet weights were trained so.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

# kernel, stride, expansion, output channels, repeats
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM_CHANNELS = 32
_LOWEST_STAGES = 2  # up to stride 4
_LOWER_STAGES = 3  # up to stride 8
_MIDDLE_STAGES = 2  # up to stride 16
STRIDE = 32
_NORM_EPS = 1e-3


class Pyramid(NamedTuple):
    """Features of a picture (B, 3, H, W) at four scales."""

    stride4: Tensor  # (B, 24, H/4, W/4)
    stride8: Tensor  # (B, 40, H/8, W/8)
    stride16: Tensor  # (B, 112, H/16, W/16)
    stride32: Tensor  # (B, 320, H/32, W/32)


PYRAMID_CHANNELS = (24, 40, 112, 320)


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless `act` is false, ReLU6; stride 2 needs an even input."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        layers: list[nn.Module] = []
        padding = kernel // 2
        if stride == 2:
            before = (kernel - 2) // 2
            after = kernel - 2 - before
            layers.append(nn.ZeroPad2d((before, after, before, after)))
            padding = 0
        layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False))
        layers.append(nn.BatchNorm2d(outputs, eps=_NORM_EPS, momentum=0.01))
        if act:
            layers.append(nn.ReLU6())
        super().__init__(*layers)


class InvertedResidual(nn.Module):
    """Widen by 1x1, convolve each channel, narrow by 1x1; added to the input where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = ConvNorm(inputs, wide) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, outputs, act=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """The encoder up to stride 32, in three parts: `lower` (to stride 8), `middle` (to 16) and `upper` (to 32).

    Training may keep `lower` as it is; it sees edges and textures, and costs a third of the time.
    """

    def __init__(self) -> None:
        super().__init__()
        stages = _build_stages()
        middle = _LOWER_STAGES + _MIDDLE_STAGES
        self.lower = nn.Sequential(ConvNorm(3, _STEM_CHANNELS, 3, 2), *stages[:_LOWER_STAGES])
        self.middle = nn.Sequential(*stages[_LOWER_STAGES:middle])
        self.upper = nn.Sequential(*stages[middle:])

    def forward(self, picture: Tensor) -> Pyramid:
        """Encode pictures (B, 3, H, W) float32, normalised; H and W are multiples of 32."""
        height, width = picture.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(f"the encoder needs sides that are multiples of {STRIDE}, not {width}x{height}")
        return self.encode_upper(*self.encode_lower(picture))

    def encode_lower(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The features at stride 4 and at stride 8, all that `lower` gives."""
        stride4 = self.lower[: 1 + _LOWEST_STAGES](picture)
        return stride4, self.lower[1 + _LOWEST_STAGES :](stride4)

    def encode_upper(self, stride4: Tensor, stride8: Tensor) -> Pyramid:
        """Go on from what `encode_lower` gave."""
        stride16 = self.middle(stride8)
        return Pyramid(stride4, stride8, stride16, self.upper(stride16))


def _build_stages() -> list[nn.Sequential]:
    stages = []
    inputs = _STEM_CHANNELS
    for kernel, stride, expansion, outputs, repeats in _STAGES:
        blocks = [InvertedResidual(inputs, outputs, kernel, stride, expansion)]
        blocks += [InvertedResidual(outputs, outputs, kernel, 1, expansion) for _ in range(repeats - 1)]
        stages.append(nn.Sequential(*blocks))
        inputs = outputs
    return stages
