"""Classifier `places_baseline`: an RGB-only network of torchvision, as the paper's Places365 table compares with.

"Semantic-Aware Scene Recognition" (arXiv 1909.02410), its table of Places365; public PyTorch weights exist for
AlexNet, ResNet-18, ResNet-50 and DenseNet-161. Within `network`, names in the state dict are torchvision's.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import get_model

from config.plugins import PluginParams
from models.classifiers.two_branch import SceneLogits
from models.layers.reference_branches import check_rgb
from models.layers.semantic_stem import Top3

__all__ = ["Params", "PlacesBaseline", "build"]

# GoogLeNet's two auxiliary heads serve its training alone, and no published weights for scenes have them.
_OPTIONS: dict[str, dict[str, Any]] = {"googlenet": {"aux_logits": False, "init_weights": True}}


class Params(PluginParams):
    """Parameters of `places_baseline`.

    architecture: torchvision's name of the network.
    scene_classes: C, 365 for Places365.
    """

    architecture: Literal["alexnet", "googlenet", "resnet18", "resnet50", "vgg19", "densenet161"] = "resnet18"
    scene_classes: int = Field(default=365, ge=1)


class PlacesBaseline(nn.Module):
    """A network of torchvision; `rgb` and `semantic` of its output equal `scene`.

    `features` are those of the last convolution, for pictures of 224x224: (B, 256, 6, 6) of AlexNet, (B, F, 7, 7) else.
    """

    uses_rgb: ClassVar[bool] = True
    uses_semantics: ClassVar[bool] = False

    def __init__(self, architecture: str, scene_classes: int) -> None:
        super().__init__()
        options = _OPTIONS.get(architecture, {})
        self.network = get_model(architecture, weights=None, num_classes=scene_classes, **options)

    def forward(self, rgb: Tensor, semantic: Tensor | Top3 | None = None) -> SceneLogits:  # noqa: ARG002
        """Classify pictures (B, 3, 224, 224), normalised; `semantic` is ignored.

        Raises:
            ValueError: another shape; the message says what to do.
        """
        check_rgb(rgb)
        parts = dict(self.network.named_children())
        features = rgb
        while (name := next(iter(parts))) not in ("avgpool", "classifier"):
            features = parts.pop(name)(features)
        if "avgpool" in parts:
            pooled = parts.pop("avgpool")(features)
        else:  # DenseNet: its last activation and the pooling are no modules
            features = F.relu(features)
            pooled = F.adaptive_avg_pool2d(features, 1)
        scene = pooled.flatten(1)
        for part in parts.values():  # a dropout, the layers of the head
            scene = part(scene)
        return SceneLogits(scene=scene, features=features, rgb=scene, semantic=scene)


def build(params: Params) -> PlacesBaseline:
    """Build the network with random weights."""
    return PlacesBaseline(params.architecture, params.scene_classes)
