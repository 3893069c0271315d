"""`SceneNetwork`: a segmenter and a classifier as one network, from a picture to a scene and a class map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from config.plugins import Registry

SEGMENTERS = Registry("segmenter", "models.segmenters")
CLASSIFIERS = Registry("classifier", "models.classifiers")

_GATE_SCALE = 2  # the classifier sees class probabilities at half the resolution of the class map


class SceneOutput(NamedTuple):
    """What the network says about pictures (B, 3, H, W), C scenes; the map has (h, w) = (H/4, W/4)."""

    logits: Tensor  # (B, C) float32, before the calibration's temperature
    class_map: Tensor  # (B, h, w) uint8 ADE20K ids, 0 for none
    class_scores: Tensor  # (B, h, w) float32, probability of the class in `class_map`
    gate: Tensor  # (B, H/32, W/32) float32 in 0..1, how open the semantic gate stands at each position
    activation: Tensor  # (B, H/32, W/32) float32, what each place adds to the logit of the best scene
    unknown: Tensor  # (B,) float32 logit that the picture shows none of the scenes, not calibrated


class TrainingOutput(NamedTuple):
    """Everything that a loss is taken of."""

    scene: Tensor  # (B, C) logits
    rgb: Tensor  # (B, C) logits of the RGB branch alone
    semantic: Tensor  # (B, C) logits of the semantic branch alone
    segmentation: Tensor  # (B, S, H/4, W/4) logits
    gate: Tensor  # (B, H/32, W/32)
    unknown: Tensor  # (B,) logit


class SceneNetwork(nn.Module):
    """Segment a picture, gate its features by what was seen, name the scene."""

    def __init__(self, segmenter: nn.Module, classifier: nn.Module, class_ids: tuple[int, ...]) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.classifier = classifier
        self.register_buffer("class_ids", torch.tensor(class_ids, dtype=torch.uint8), persistent=False)

    def forward(self, picture: Tensor) -> SceneOutput:
        """Name the scenes of pictures (B, 3, H, W) float32 RGB, normalised as the manifest says."""
        features, segmentation = self.segmenter(picture)
        probabilities = segmentation.softmax(1)
        output = self.classifier(features, for_classifier(probabilities))
        scores, channels = probabilities.max(1)
        ids: Tensor = self.get_buffer("class_ids")
        class_map = ids.index_select(0, channels.flatten()).view_as(channels)
        activation = self.classifier.activation(output, output.scene.argmax(1))  # type: ignore[operator]
        return SceneOutput(output.scene, class_map, scores, output.gate, activation, output.unknown)

    def forward_training(self, picture: Tensor) -> TrainingOutput:
        """Logits of all heads for pictures (B, 3, H, W)."""
        features, segmentation = self.segmenter(picture)
        return self._classify(features, segmentation)

    def forward_from(self, pyramid: Any) -> TrainingOutput:
        """Logits of all heads from the segmenter's encoder features, for training on a frozen encoder."""
        features, segmentation = self.segmenter.decode(pyramid)  # type: ignore[operator]
        return self._classify(features, segmentation)

    def _classify(self, features: Tensor, segmentation: Tensor) -> TrainingOutput:
        output = self.classifier(features, for_classifier(segmentation.softmax(1)))
        return TrainingOutput(output.scene, output.rgb, output.semantic, segmentation, output.gate, output.unknown)


def for_classifier(probabilities: Tensor) -> Tensor:
    """Class probabilities (B, S, H/4, W/4) as the classifier takes them: (B, S, H/8, W/8)."""
    return F.avg_pool2d(probabilities, _GATE_SCALE)


def build_scene_network(manifest: Mapping[str, Any]) -> SceneNetwork:
    """Build a network with random weights from a model's manifest.

    Args:
        manifest: `segmenter` and `classifier` (each `kind` and `params`) and `labels` (scene names).

    Raises:
        UnknownPluginError, ConfigError: the manifest names a kind or a parameter that does not exist.
    """
    segmenter_spec, classifier_spec = manifest["segmenter"], manifest["classifier"]
    segmenter = SEGMENTERS.build(segmenter_spec["kind"], segmenter_spec["params"])
    classifier = CLASSIFIERS.build(
        classifier_spec["kind"],
        classifier_spec["params"],
        feature_channels=segmenter.feature_channels,
        semantic_classes=len(segmenter.class_ids),
        scene_classes=len(manifest["labels"]),
    )
    return SceneNetwork(segmenter, classifier, segmenter.class_ids)
