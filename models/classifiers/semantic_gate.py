"""Classifier `semantic_gate`: what the segmentation saw decides which RGB features count.

After López-Cifuentes et al., "Semantic-Aware Scene Recognition" (arXiv 1909.02410): a semantic branch with channel
attention gates the features of the RGB branch. Here both branches share one encoder; the gate doubles or mutes a
feature (2 * sigmoid) and starts as identity; the scene is read from the gated features joined with the semantic ones.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from config.plugins import PluginParams
from models.layers.activation import weighted_sum
from models.layers.channel_attention import ChannelAttention
from models.layers.efficientnet_lite import ConvNorm


class Params(PluginParams):
    """Parameters of `semantic_gate`.

    width: channels of the RGB features that are gated.
    semantic_widths: channels of the semantic branch; each of its layers but the last halves the map.
    dropout: share of the joined features that training leaves out.
    """

    width: int = Field(default=1280, ge=8, le=4096)
    semantic_widths: tuple[int, int, int] = (64, 128, 256)
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)


class ClassifierOutput(NamedTuple):
    """Scene logits of C classes and the gate, for features (B, F, h, w)."""

    scene: Tensor  # (B, C) from both branches
    rgb: Tensor  # (B, C) from the RGB features alone: training and ablation
    semantic: Tensor  # (B, C) from the semantic features alone: training and ablation
    gate: Tensor  # (B, h, w) mean openness of the gate, 0..1
    gated: Tensor  # (B, width, h, w) RGB features after the gate
    semantics: Tensor  # (B, last, h, w) features of the semantic branch


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
        self.dropout = nn.Dropout(params.dropout)
        self.fc = nn.Linear(params.width + last, scene_classes)
        self.fc_rgb = nn.Linear(params.width, scene_classes)
        self.fc_semantic = nn.Linear(last, scene_classes)

    @torch.no_grad()
    def shift_scenes(self, offsets: Tensor) -> None:
        """Add `offsets` (C,) to the scene logits for good."""
        self.fc.bias.add_(offsets)

    def forward(self, features: Tensor, class_scores: Tensor) -> ClassifierOutput:
        """Classify from encoder features and soft class scores (probabilities over S classes per position).

        The scores are detached: what a region is called is taught by the segmentation's teacher alone.
        """
        rgb = self.head(features)
        return self.join(rgb, self.semantic(class_scores.detach()))

    def join(self, rgb: Tensor, semantic: Tensor) -> ClassifierOutput:
        """Gate RGB features (B, width, h, w), the head's output, by semantic ones (B, last, h, w); name the scene."""
        gate = torch.sigmoid(self.gate(semantic))
        gated = rgb * (2 * gate)
        pooled_semantic = semantic.mean((2, 3))
        joined = torch.cat([gated.mean((2, 3)), pooled_semantic], dim=1)
        return ClassifierOutput(
            scene=self.fc(self.dropout(joined)),
            rgb=self.fc_rgb(self.dropout(rgb.mean((2, 3)))),
            semantic=self.fc_semantic(self.dropout(pooled_semantic)),
            gate=gate.mean(1),
            gated=gated,
            semantics=semantic,
        )

    def activation(self, output: ClassifierOutput, scenes: Tensor) -> Tensor:
        """What each place adds to the logit of a scene: class activation map (Zhou et al., CVPR 2016).

        Args:
            output: of `forward`, in evaluation mode.
            scenes: (B,) int64, a scene for each picture.

        Returns:
            (B, h, w) float32; its mean over the places is the scene's logit without `fc`'s bias.
        """
        weights, width = self.fc.weight[scenes], output.gated.shape[1]
        return weighted_sum(output.gated, weights[:, :width]) + weighted_sum(output.semantics, weights[:, width:])


def build(params: Params, *, feature_channels: int, semantic_classes: int, scene_classes: int) -> SemanticGate:
    """Build the classifier with random weights and a gate that changes nothing yet."""
    return SemanticGate(params, feature_channels, semantic_classes, scene_classes)
