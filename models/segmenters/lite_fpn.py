"""Segmenter `lite_fpn`: EfficientNet-Lite0 with a light feature pyramid decoder.

Its encoder is shared: a classifier goes on from the same features, so that a picture is encoded once.
The decoder follows Lin et al., "Feature Pyramid Networks" (arXiv 1612.03144), with depthwise-separable convolutions and
the picture's mean as context (Liu et al., "ParseNet", arXiv 1506.04579). Its last layer gives four sets of logits to
each position, which are laid out as 2x2 positions (Shi et al., "sub-pixel convolution", arXiv 1609.05158): borders
twice as fine, at the cost of an eighth of the picture's size.

The encoder is at its deepest where it is coarse, one position to 32 pixels. Inverted residuals (Sandler et al.,
"MobileNetV2", arXiv 1801.04381) may add depth where it is finer, at twice that resolution and at four times; and the
encoder's features at a quarter of the picture's size may tell each position where in it a border runs.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from config.plugins import PluginParams
from models.layers.efficientnet_lite import PYRAMID_CHANNELS, ConvNorm, EfficientNetLite0, InvertedResidual, Pyramid

_FINER = 2  # the logits' resolution over that of the features they are made of
_EXPANSION = 4  # of the inverted residuals at a sixteenth of the picture's size
_FINE_EXPANSION = 2  # of those at an eighth


class Params(PluginParams):
    """Parameters of `lite_fpn`.

    class_ids: ADE20K id (1..150) of each output channel; 0 for "none of the others".
    width: channels of the decoder.
    depth: inverted residuals at a sixteenth of the picture's size, each of `depth_width` channels.
    fine_depth: inverted residuals at an eighth, each of `width` channels.
    edges: the decoder sees the encoder's features at a quarter as well.
    """

    class_ids: tuple[int, ...] = tuple(range(32))
    width: int = Field(default=64, ge=8, le=512)
    depth: int = Field(default=0, ge=0, le=8)
    depth_width: int = Field(default=128, ge=8, le=512)
    fine_depth: int = Field(default=0, ge=0, le=8)
    edges: bool = False

    @field_validator("class_ids")
    @classmethod
    def _ids_exist(cls, ids: tuple[int, ...]) -> tuple[int, ...]:
        if len(ids) < 2 or len(set(ids)) != len(ids) or not all(0 <= i <= 150 for i in ids):
            raise ValueError("class_ids needs two or more different ids from 0 to 150")
        return ids


class SegmenterOutput(NamedTuple):
    """What the segmenter says about pictures (B, 3, H, W)."""

    features: Tensor  # (B, F, H/32, W/32), of the shared encoder
    logits: Tensor  # (B, S, H/4, W/4), one channel per class of `class_ids`


class LiteFpn(nn.Module):
    """Encoder, top-down decoder, class logits at a quarter of the picture's size."""

    feature_channels = PYRAMID_CHANNELS[-1]

    def __init__(self, params: Params) -> None:
        super().__init__()
        self.class_ids = params.class_ids
        self.encoder = EfficientNetLite0()
        self.laterals = nn.ModuleList(ConvNorm(c, params.width, act=False) for c in PYRAMID_CHANNELS[1:])
        self.context = nn.Conv2d(PYRAMID_CHANNELS[-1], params.width, 1)
        self.refine16 = _separable(params.width)
        self.refine8 = nn.Sequential(_separable(params.width), _separable(params.width))
        self.head = nn.Conv2d(params.width, _FINER**2 * len(params.class_ids), 1)
        self.deep = _Deep(params) if params.depth else None
        self.edges = _silent(_FINER**2 * PYRAMID_CHANNELS[0], params.width) if params.edges else None
        self.fine = nn.Sequential(*(_starting_silent(params.width) for _ in range(params.fine_depth)))

    def forward(self, picture: Tensor) -> SegmenterOutput:
        """Segment pictures (B, 3, H, W) float32 RGB, normalised; H and W are multiples of 32."""
        return self.decode(self.encoder(picture))

    def decode(self, pyramid: Pyramid) -> SegmenterOutput:
        """Class logits from the encoder's features."""
        stride4, *coarser = pyramid
        fine, middle, coarse = (lateral(f) for lateral, f in zip(self.laterals, coarser, strict=True))
        coarse = coarse + self.context(pyramid.stride32.mean((2, 3), keepdim=True))
        if self.deep is not None:
            fine, middle = self.deep(pyramid, fine, middle)
        middle = self.refine16(middle + _double(coarse))
        if self.edges is not None:
            fine = fine + self.edges(F.pixel_unshuffle(stride4, _FINER))
        logits = self.head(self.fine(self.refine8(fine + _double(middle))))
        return SegmenterOutput(pyramid.stride32, F.pixel_shuffle(logits, _FINER))


class _Deep(nn.Module):
    """Inverted residuals at stride 16, added to the decoder's features; at the start they add nothing."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        middle, coarse = PYRAMID_CHANNELS[2:]
        width = params.depth_width
        self.middle = ConvNorm(middle, width, act=False)
        self.coarse = ConvNorm(coarse, width, act=False)
        self.blocks = nn.Sequential(*(InvertedResidual(width, width, 3, 1, _EXPANSION) for _ in range(params.depth)))
        self.to_middle = _silent(width, params.width)
        self.to_fine = _silent(width, params.width)

    def forward(self, pyramid: Pyramid, fine: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's features at stride 8 and at stride 16, with what was found."""
        found = self.blocks(self.middle(pyramid.stride16) + _double(self.coarse(pyramid.stride32)))
        return fine + _double(self.to_fine(found)), middle + self.to_middle(found)


def build(params: Params) -> LiteFpn:
    """Build the segmenter with random weights."""
    return LiteFpn(params)


def _separable(width: int) -> nn.Sequential:
    return nn.Sequential(ConvNorm(width, width, 3, groups=width, act=False), ConvNorm(width, width))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _starting_silent(width: int) -> InvertedResidual:
    """An inverted residual that gives what it gets yet."""
    block = InvertedResidual(width, width, 3, 1, _FINE_EXPANSION)
    nn.init.zeros_(block.project.get_parameter("1.weight"))
    return block


def _silent(inputs: int, outputs: int) -> nn.Conv2d:
    """A 1x1 convolution that gives nothing but zeros yet."""
    layer = nn.Conv2d(inputs, outputs, 1)
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
