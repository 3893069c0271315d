"""Segmenter `ppm_r50dilated`: pyramid pooling on dilated ResNet-50; 150 ADE20K classes at stride 8."""

from __future__ import annotations

from models.layers.csail.decoders import PyramidPooling
from models.layers.csail.resnet import CHANNELS, DILATED_STRIDE, ResNet50
from models.layers.csail.segmenter import CsailSegmenter
from models.scaling import ScaleParams


class Params(ScaleParams):
    """Parameters of `ppm_r50dilated`."""


def build(params: Params) -> CsailSegmenter:
    """Build the segmenter with random weights."""
    return CsailSegmenter(ResNet50(dilated=True), PyramidPooling(CHANNELS[-1]), DILATED_STRIDE, params)
