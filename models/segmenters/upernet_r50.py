"""Segmenter `upernet_r50`: UPerNet on ResNet-50, the paper's; 150 ADE20K classes at stride 4."""

from __future__ import annotations

from models.layers.csail.decoders import UPerNet
from models.layers.csail.resnet import CHANNELS, STRIDE, ResNet50
from models.layers.csail.segmenter import CsailSegmenter
from models.scaling import ScaleParams


class Params(ScaleParams):
    """Parameters of `upernet_r50`."""


def build(params: Params) -> CsailSegmenter:
    """Build the segmenter with random weights."""
    return CsailSegmenter(ResNet50(), UPerNet(CHANNELS), STRIDE, params)
