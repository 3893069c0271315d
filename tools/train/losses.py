"""What training makes small: cross-entropy of the scene and its auxiliary heads, and of the class map."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from models.scene_network import TrainingOutput
from tools.train.data import NO_SCENE
from tools.train.recipe import Loss


def soft_maps(
    labels: Tensor, scores: Tensor, boxes: Tensor, mirrored: Tensor, classes: int, size: tuple[int, int]
) -> Tensor:
    """Class probabilities (B, S, *size) float32 of what was cut out of each picture.

    Args:
        labels, scores: (B, h, w, 3) uint8, the teacher's three best classes of the whole picture.
        boxes: (B, 4) float32 left, top, right, bottom in positions of that map.
        mirrored: (B,) bool.
    """
    batch, height, width, _ = labels.shape
    dense = torch.zeros(batch, classes, height, width)
    dense.scatter_add_(1, labels.permute(0, 3, 1, 2).long(), scores.permute(0, 3, 1, 2) / 255)
    cut = roi_align(dense, list(boxes[:, None].unbind(0)), size, aligned=True)
    cut = torch.where(mirrored[:, None, None, None], cut.flip(3), cut)
    return cut / cut.sum(1, keepdim=True).clamp_min(1e-3)


def segmentation_loss(logits: Tensor, soft: Tensor) -> Tensor:
    """Cross-entropy of class logits (B, S, h, w) against soft maps of the same shape, mean over positions."""
    return -(soft * logits.log_softmax(1)).sum(1).mean()


def scene_loss(output: TrainingOutput, target: Tensor, weights: Loss) -> Tensor:
    """Weighted cross-entropy of the three heads (B, C) against scenes (B,); those without a scene are left out."""
    known = target != NO_SCENE
    if not bool(known.any()):
        return output.scene.sum() * 0

    def entropy(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, ignore_index=NO_SCENE, label_smoothing=weights.label_smoothing)

    return entropy(output.scene) + weights.rgb * entropy(output.rgb) + weights.semantic * entropy(output.semantic)
