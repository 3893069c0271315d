"""From pictures to class scores: one file per segmenter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.errors import UnknownPluginError
from config.plugins import Registry

if TYPE_CHECKING:
    from models.layers.csail.segmenter import CsailSegmenter

__all__ = ["CSAIL_SEGMENTERS", "SEGMENTERS", "build_csail"]

SEGMENTERS = Registry("segmenter", "models.segmenters")

# The public ADE20K segmenters of the MIT scene-parsing project.
CSAIL_SEGMENTERS = ("upernet_r50", "ppm_r50dilated", "c1_mobilenetv2")


def build_csail(name: str) -> CsailSegmenter:
    """A public ADE20K segmenter with random weights and the parameter names of its checkpoints.

    Args:
        name: "upernet_r50", "ppm_r50dilated" or "c1_mobilenetv2".

    Returns:
        A module with an `encoder` and a `decoder`; `forward(x, size)` gives softmax probabilities (B, 150, H, W) at
        `size` = (H, W), channel c for ADE20K class id c + 1.

    Raises:
        UnknownPluginError: another name; the message lists the known ones.
    """
    if name not in CSAIL_SEGMENTERS:
        raise UnknownPluginError("segmenter", name, list(CSAIL_SEGMENTERS))
    segmenter: CsailSegmenter = SEGMENTERS.build(name, {})
    return segmenter
