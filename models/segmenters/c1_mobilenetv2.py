"""Segmenter `c1_mobilenetv2`: one convolution on dilated MobileNetV2; 150 ADE20K classes at stride 8."""

from __future__ import annotations

from models.layers.csail.decoders import OneConv
from models.layers.csail.mobilenet import CHANNELS, STRIDE, DilatedMobileNetV2
from models.layers.csail.segmenter import CsailSegmenter
from models.scaling import ScaleParams


class Params(ScaleParams):
    """Parameters of `c1_mobilenetv2`."""


def build(params: Params) -> CsailSegmenter:
    """Build the segmenter with random weights."""
    return CsailSegmenter(DilatedMobileNetV2(), OneConv(CHANNELS), STRIDE, params)
