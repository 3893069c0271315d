"""The reference's networks: RGB and semantics joined by an attention module, and each branch alone.

"Semantic-Aware Scene Recognition" (arXiv 1909.02410), the variant G-RGB-H. Names and shapes in the state dict are those
of the public checkpoints, so that these load as they are; weights start random.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from config.plugins import PluginParams
from models.encoding import SEMANTIC_CLASSES
from models.layers import reference_branches as parts
from models.layers.semantic_stem import Top3

__all__ = ["Params", "RGBNet", "SceneLogits", "SemanticNet", "TwoBranchNet", "build"]

_GATED = 1024  # channels of the gated features
_PLACES365 = 365


class SceneLogits(NamedTuple):
    """What the networks say about pictures (B, 3, 224, 224), for C scenes."""

    scene: Tensor  # (B, C) logits
    features: Tensor  # (B, F, h, w): gated (1024, 3, 3); of one branch alone (F, 7, 7)
    rgb: Tensor  # (B, C) logits of the RGB branch alone
    semantic: Tensor  # (B, C) logits of the semantic branch alone


class TwoBranchNet(parts.RGBBranch, parts.SemanticBranch):
    """RGB features, gated by what the segmentation saw.

    Args:
        backbone: the RGB branch, "resnet18" or "resnet50".
        scene_classes: C.
        semantic_classes: S; the semantic tensor has S + 1 channels.
    """

    uses_rgb: ClassVar[bool] = True
    uses_semantics: ClassVar[bool] = True

    def __init__(
        self, backbone: str = "resnet18", scene_classes: int = _PLACES365, semantic_classes: int = SEMANTIC_CLASSES
    ) -> None:
        super().__init__()
        self.semantic_classes = semantic_classes
        width = self.add_rgb_branch(backbone)
        self.add_semantic_branch(semantic_classes)

        self.dropout = parts.head_dropout()
        self.fc_SEM = nn.Linear(parts.SEMANTIC_FEATURES, scene_classes)
        self.fc_RGB = nn.Linear(width, scene_classes)

        narrow = min(width, _GATED)
        self.lastConvRGB1 = parts.gate_conv(width, narrow)
        self.lastConvRGB2 = parts.gate_conv(narrow, _GATED)
        self.lastConvSEM1 = parts.gate_conv(parts.SEMANTIC_FEATURES, parts.SEMANTIC_FEATURES)
        self.lastConvSEM2 = parts.gate_conv(parts.SEMANTIC_FEATURES, _GATED)
        self.fc = nn.Linear(_GATED, scene_classes)

    def forward(self, rgb: Tensor, semantic: Tensor | Top3) -> SceneLogits:
        """Classify pictures (B, 3, 224, 224), normalised, with their semantic tensors (B, S + 1, 224, 224).

        With `Top3` in place of the tensor the result is the same, and sooner.

        Raises:
            ValueError: another shape; the message says what to do.
        """
        parts.check_rgb(rgb)
        parts.check_semantic(semantic, self.semantic_classes)
        e4 = self.rgb_features(rgb)
        y3 = self.semantic_features(self.look_up(semantic))
        e7 = self.lastConvRGB2(self.lastConvRGB1(e4)) * self.gate(y3)
        return SceneLogits(
            scene=self.fc(self.dropout(parts.pooled(e7))),
            features=e7,
            rgb=self.fc_RGB(self.dropout(parts.pooled(e4))),
            semantic=self.fc_SEM(self.dropout(parts.pooled(y3))),
        )

    def gate(self, y3: Tensor) -> Tensor:
        """How open the gate stands, (B, 1024, 3, 3) in 0..1, for semantic features y3 (B, 512, 7, 7)."""
        return torch.sigmoid(self.lastConvSEM2(self.lastConvSEM1(y3)))


class RGBNet(parts.RGBBranch):
    """The RGB branch alone; `rgb` and `semantic` of its output equal `scene`, `features` is (B, 512 or 2048, 7, 7).

    Args:
        backbone: "resnet18" or "resnet50".
        scene_classes: C.
    """

    uses_rgb: ClassVar[bool] = True
    uses_semantics: ClassVar[bool] = False

    def __init__(self, backbone: str = "resnet18", scene_classes: int = _PLACES365) -> None:
        super().__init__()
        width = self.add_rgb_branch(backbone)
        self.dropout = parts.head_dropout()
        self.fc = nn.Linear(width, scene_classes)

    def forward(self, rgb: Tensor, semantic: Tensor | Top3 | None = None) -> SceneLogits:  # noqa: ARG002
        """Classify pictures (B, 3, 224, 224), normalised; `semantic` is ignored.

        Raises:
            ValueError: another shape; the message says what to do.
        """
        parts.check_rgb(rgb)
        e4 = self.rgb_features(rgb)
        scene = self.fc(self.dropout(parts.pooled(e4)))
        return SceneLogits(scene=scene, features=e4, rgb=scene, semantic=scene)


class SemanticNet(parts.SemanticBranch):
    """The semantic branch alone; `rgb` and `semantic` of its output equal `scene`, `features` is (B, 512, 7, 7).

    Args:
        scene_classes: C.
        semantic_classes: S; the semantic tensor has S + 1 channels.
    """

    uses_rgb: ClassVar[bool] = False
    uses_semantics: ClassVar[bool] = True

    def __init__(self, scene_classes: int = _PLACES365, semantic_classes: int = SEMANTIC_CLASSES) -> None:
        super().__init__()
        self.semantic_classes = semantic_classes
        self.add_semantic_branch(semantic_classes)
        self.dropout = parts.head_dropout()
        self.fc_SEM = nn.Linear(parts.SEMANTIC_FEATURES, scene_classes)

    def forward(self, rgb: Tensor | None, semantic: Tensor | Top3) -> SceneLogits:  # noqa: ARG002
        """Classify semantic tensors (B, S + 1, 224, 224), or `Top3` of them; `rgb` is ignored and may be None.

        Raises:
            ValueError: another shape; the message says what to do.
        """
        parts.check_semantic(semantic, self.semantic_classes)
        y3 = self.semantic_features(self.look_up(semantic))
        scene = self.fc_SEM(self.dropout(parts.pooled(y3)))
        return SceneLogits(scene=scene, features=y3, rgb=scene, semantic=scene)


class Params(PluginParams):
    """Parameters of `two_branch`.

    branches: both (gated), or one of them alone.
    backbone: of the RGB branch.
    scene_classes: C, 365 for Places365.
    semantic_classes: S; the semantic tensor has S + 1 channels.
    """

    branches: Literal["both", "rgb", "semantic"] = "both"
    backbone: Literal["resnet18", "resnet50"] = "resnet18"
    scene_classes: int = Field(default=_PLACES365, ge=1)
    semantic_classes: int = Field(default=SEMANTIC_CLASSES, ge=1)


def build(params: Params) -> TwoBranchNet | RGBNet | SemanticNet:
    """Build the network with random weights."""
    if params.branches == "rgb":
        return RGBNet(params.backbone, params.scene_classes)
    if params.branches == "semantic":
        return SemanticNet(params.scene_classes, params.semantic_classes)
    return TwoBranchNet(params.backbone, params.scene_classes, params.semantic_classes)
