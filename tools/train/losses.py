"""What training makes small: cross-entropy of the scene and its auxiliary heads, and of the class map."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from models.scene_network import TrainingOutput
from tools.train.data import UNKNOWN
from tools.train.recipe import Loss


def segmentation_loss(logits: Tensor, labels: Tensor, scores: Tensor) -> Tensor:
    """Cross-entropy of class logits (B, S, h, w) against the teacher's three best classes, mean over positions.

    Args:
        logits: of all classes.
        labels, scores: (B, h, w, 3) uint8, the classes and round(255 p) of each; their scores are made to sum to 1.
    """
    log_p = logits.log_softmax(1).gather(1, labels.permute(0, 3, 1, 2).long())
    weights = scores.permute(0, 3, 1, 2).float()
    return -(weights / weights.sum(1, keepdim=True).clamp_min(1) * log_p).sum(1).mean()


def scene_loss(output: TrainingOutput, target: Tensor, wanted: Tensor, weights: Loss) -> Tensor:
    """Weighted cross-entropy of the three heads (B, C) against scenes (B,), and of the logit of `unknown`.

    Pictures of none of the scenes ask the scene's head for equal probabilities (outlier exposure: Hendrycks et al.,
    arXiv 1812.04606); those without a target are left out.

    Args:
        output: of the network.
        target: (B,) int64, a scene, NO_SCENE or UNKNOWN.
        wanted: (B, C) float32, what another network says of the scenes; zeros where it was not asked.
        weights: of the parts.
    """
    known, strange = target >= 0, target == UNKNOWN
    loss = output.scene.sum() * 0
    if bool(known.any()):
        aims = _aims(target[known], wanted[known], weights)
        heads = ((output.scene, 1.0), (output.rgb, weights.rgb), (output.semantic, weights.semantic))
        for logits, weight in heads:
            loss = loss - weight * (aims * logits[known].log_softmax(1)).sum(1).mean()
    if bool(strange.any()):
        loss = loss - weights.uniform * output.scene[strange].log_softmax(1).mean() * strange.float().mean()
    judged = known | strange
    if bool(judged.any()):
        loss = loss + weights.unknown * F.binary_cross_entropy_with_logits(
            output.unknown[judged], strange[judged].float()
        )
    return loss


def _aims(target: Tensor, wanted: Tensor, weights: Loss) -> Tensor:
    """What the scene's probabilities should be: smoothed labels, mixed with what another network says."""
    classes = wanted.shape[1]
    hard = F.one_hot(target, classes) * (1 - weights.label_smoothing) + weights.label_smoothing / classes
    share = weights.distillation * (wanted.sum(1, keepdim=True) > 0)
    mixed: Tensor = (1 - share) * hard + share * wanted
    return mixed
