"""Classifier `semantic_gate`: what the segmentation saw decides which RGB features count.

After López-Cifuentes et al., "Semantic-Aware Scene Recognition" (arXiv 1909.02410): a semantic branch with channel
attention gates the features of the RGB branch. Here both branches share one encoder; the gate doubles or mutes a
feature (2 * sigmoid) and starts as identity. The scene is read from the gated features, the semantic ones, and from
regions: what the RGB features are like on each class, on the wall, on the floor, on the sea.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from config.plugins import PluginParams
from models.layers.activation import weighted_sum
from models.layers.channel_attention import ChannelAttention
from models.layers.efficientnet_lite import ConvNorm

_FADE = 0.05  # share of the picture under which a class's region fades


class Params(PluginParams):
    """Parameters of `semantic_gate`.

    width: channels of the RGB features that are gated.
    semantic_widths: channels of the semantic branch; each of its layers but the last halves the map.
    regions: features of a region; 0 leaves regions out.
    dropout: share of the joined features that training leaves out.
    """

    width: int = Field(default=1280, ge=8, le=4096)
    semantic_widths: tuple[int, int, int] = (64, 128, 256)
    regions: int = Field(default=48, ge=0, le=512)
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)


class ClassifierOutput(NamedTuple):
    """Scene logits of C classes and the gate, for features (B, F, h, w)."""

    scene: Tensor  # (B, C) from both branches
    rgb: Tensor  # (B, C) from the RGB features alone: training and ablation
    semantic: Tensor  # (B, C) from the semantic features alone: training and ablation
    gate: Tensor  # (B, h, w) mean openness of the gate, 0..1
    gated: Tensor  # (B, width, h, w) RGB features after the gate
    semantics: Tensor  # (B, last, h, w) features of the semantic branch
    unknown: Tensor  # (B,) logit that the picture shows none of the scenes
    regional: Tensor  # (B, regions, h, w) what is averaged over each class's region
    shares: Tensor  # (B, S, h, w) each place's share in the average of a class's region


class SemanticLayer(nn.Module):
    """A layer of the semantic branch: convolution, norm, channel attention, ReLU, in the reference's order."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = ConvNorm(inputs, outputs, 3, stride, act=False)
        self.attention = ChannelAttention(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return torch.relu(x * self.attention(x))


class SemanticGate(nn.Module):
    """Gate RGB features (B, F, h, w) by class scores (B, S, 4h, 4w) and name the scene."""

    def __init__(self, params: Params, feature_channels: int, semantic_classes: int, scene_classes: int) -> None:
        super().__init__()
        first, second, last = params.semantic_widths
        self.head = ConvNorm(feature_channels, params.width)
        self.semantic = nn.Sequential(
            SemanticLayer(semantic_classes, first, 2),
            SemanticLayer(first, second, 2),
            SemanticLayer(second, last, 1),
        )
        self.gate = nn.Conv2d(last, params.width, 1)
        nn.init.zeros_(self.gate.weight)
        assert self.gate.bias is not None
        nn.init.zeros_(self.gate.bias)
        self.region = ConvNorm(params.width, params.regions) if params.regions else None
        self.dropout = nn.Dropout(params.dropout)
        joined = params.width + last + semantic_classes * params.regions
        self.fc = nn.Linear(joined, scene_classes)
        self.fc_rgb = nn.Linear(params.width, scene_classes)
        self.fc_semantic = nn.Linear(last, scene_classes)
        self.fc_unknown = nn.Linear(joined, 1)

    @torch.no_grad()
    def shift_scenes(self, offsets: Tensor) -> None:
        """Add `offsets` (C,) to the scene logits for good."""
        self.fc.bias.add_(offsets)

    def forward(self, features: Tensor, class_scores: Tensor) -> ClassifierOutput:
        """Classify from encoder features and soft class scores (probabilities over S classes per position).

        The scores are detached: what a region is called is taught by the segmentation's teacher alone.
        """
        scores = class_scores.detach()
        return self.join(self.head(features), self.semantic(scores), scores)

    def join(self, rgb: Tensor, semantic: Tensor, class_scores: Tensor) -> ClassifierOutput:
        """Gate RGB features (B, width, h, w), the head's output, by semantic ones (B, last, h, w); name the scene."""
        gate = torch.sigmoid(self.gate(semantic))
        gated = rgb * (2 * gate)
        pooled_semantic = semantic.mean((2, 3))
        regional = rgb[:, :0] if self.region is None else self.region(rgb)
        shares = _shares(class_scores, rgb.shape[-1])
        regions = shares.flatten(2) @ regional.flatten(2).transpose(1, 2)  # (B, S, regions)
        joined = self.dropout(torch.cat([gated.mean((2, 3)), pooled_semantic, regions.flatten(1)], dim=1))
        return ClassifierOutput(
            scene=self.fc(joined),
            rgb=self.fc_rgb(self.dropout(rgb.mean((2, 3)))),
            semantic=self.fc_semantic(self.dropout(pooled_semantic)),
            gate=gate.mean(1),
            gated=gated,
            semantics=semantic,
            unknown=self.fc_unknown(joined).squeeze(1),
            regional=regional,
            shares=shares,
        )

    def activation(self, output: ClassifierOutput, scenes: Tensor) -> Tensor:
        """What each place adds to the logit of a scene: class activation map (Zhou et al., CVPR 2016).

        Args:
            output: of `forward`, in evaluation mode.
            scenes: (B,) int64, a scene for each picture.

        Returns:
            (B, h, w) float32; its mean over the places is the scene's logit without `fc`'s bias.
        """
        weights = self.fc.weight[scenes]
        ends = output.gated.shape[1], output.gated.shape[1] + output.semantics.shape[1]
        gated, semantic, regional = weights[:, : ends[0]], weights[:, ends[0] : ends[1]], weights[:, ends[1] :]
        batch, classes, height, width = output.shares.shape
        by_class = regional.view(batch, classes, -1) @ output.regional.flatten(2)  # (B, S, h * w)
        of_regions = (by_class * output.shares.flatten(2)).sum(1).view(batch, height, width) * (height * width)
        return weighted_sum(output.gated, gated) + weighted_sum(output.semantics, semantic) + of_regions


def _shares(class_scores: Tensor, side: int) -> Tensor:
    """Each place's share (B, S, side, side) in the average over a class's region; a class that is next to nowhere has
    small shares, so that its features fade instead of becoming noise."""
    masks = F.avg_pool2d(class_scores, class_scores.shape[-1] // side)
    places = side * masks.shape[-2]
    return masks / (masks.sum((2, 3), keepdim=True) + _FADE * places)


def build(params: Params, *, feature_channels: int, semantic_classes: int, scene_classes: int) -> SemanticGate:
    """Build the classifier with random weights and a gate that changes nothing yet."""
    return SemanticGate(params, feature_channels, semantic_classes, scene_classes)
