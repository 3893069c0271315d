"""Ways to join what a picture looks like with what is in it: the arms of `gate_study`.

Each takes RGB features (B, 1280, 4, 4) of a frozen encoder and class probabilities (B, S, 16, 16), and gives logits
(B, C). All have the same optimiser, schedule and dropout; they differ in where the semantics act and what they see.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.train.class_maps import GRID, class_shares

FEATURES, PLACES, MAP_SIDE = 1280, 4, 16
_SEMANTIC = 256  # channels of the semantic branch
_REGION = 48  # features of a region
_PAPER = 1024  # channels of the paper's attention module
_HIDDEN = 128
_DROPOUT = 0.3
_FADE = 0.05


class Design(nn.Module):
    """An arm: `features` joins, one linear layer reads the scene."""

    def __init__(self, width: int, scenes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(_DROPOUT)
        self.fc = nn.Linear(width, scenes)

    def features(self, rgb: Tensor, semantic: Tensor) -> Tensor:
        """What the scene is read from, (B, width)."""
        raise NotImplementedError

    def forward(self, rgb: Tensor, semantic: Tensor) -> Tensor:
        """Scene logits (B, C)."""
        logits: Tensor = self.fc(self.dropout(self.features(rgb, semantic)))
        return logits


class RgbOnly(Design):
    """No semantics."""

    def __init__(self, classes: int, scenes: int) -> None:  # noqa: ARG002 - every arm is built alike
        super().__init__(FEATURES, scenes)

    def features(self, rgb: Tensor, semantic: Tensor) -> Tensor:  # noqa: ARG002
        """See `Design.features`."""
        return rgb.mean((2, 3))


class SemanticOnly(Design):
    """Convolutions over the class probabilities alone."""

    def __init__(self, classes: int, scenes: int) -> None:
        super().__init__(_SEMANTIC, scenes)
        self.branch = _branch(classes)

    def features(self, rgb: Tensor, semantic: Tensor) -> Tensor:  # noqa: ARG002
        """See `Design.features`."""
        pooled: Tensor = self.branch(semantic).mean((2, 3))
        return pooled


class Concatenation(Design):
    """Pooled features beside the share of each class in the picture and in nine parts of it: the floor to beat."""

    def __init__(self, classes: int, scenes: int) -> None:
        super().__init__(FEATURES + classes * (1 + GRID**2), scenes)

    def features(self, rgb: Tensor, semantic: Tensor) -> Tensor:
        """See `Design.features`."""
        return torch.cat([rgb.mean((2, 3)), class_shares(semantic)], dim=1)


class LateSum(Design):
    """The logits of RGB plus those of a small network over the class shares."""

    def __init__(self, classes: int, scenes: int) -> None:
        super().__init__(FEATURES, scenes)
        shares = classes * (1 + GRID**2)
        self.vote = nn.Sequential(
            nn.Linear(shares, _HIDDEN), nn.ReLU(), nn.Dropout(_DROPOUT), nn.Linear(_HIDDEN, scenes)
        )

    def features(self, rgb: Tensor, semantic: Tensor) -> Tensor:  # noqa: ARG002
        """See `Design.features`."""
        return rgb.mean((2, 3))

    def forward(self, rgb: Tensor, semantic: Tensor) -> Tensor:
        """See `Design.forward`."""
        logits: Tensor = super().forward(rgb, semantic) + self.vote(class_shares(semantic))
        return logits


class PaperGate(Design):
    """The paper's: both sides through a convolution, RGB times the sigmoid of the semantics; nothing beside it."""

    def __init__(self, classes: int, scenes: int) -> None:
        super().__init__(_PAPER, scenes)
        self.branch = _branch(classes)
        self.rgb = nn.Sequential(nn.Conv2d(FEATURES, _PAPER, 1, bias=False), nn.BatchNorm2d(_PAPER), nn.ReLU())
        self.semantic = nn.Sequential(nn.Conv2d(_SEMANTIC, _PAPER, 1, bias=False), nn.BatchNorm2d(_PAPER), nn.ReLU())

    def features(self, rgb: Tensor, semantic: Tensor) -> Tensor:
        """See `Design.features`."""
        gated: Tensor = self.rgb(rgb) * torch.sigmoid(self.semantic(self.branch(semantic)))
        return gated.mean((2, 3))


class OpenGate(Design):
    """A gate of 2 * sigmoid on every feature and place, which starts as identity; the semantic features beside it."""

    def __init__(self, classes: int, scenes: int, more: int = 0) -> None:
        super().__init__(FEATURES + _SEMANTIC + more, scenes)
        self.branch = _branch(classes)
        self.gate = nn.Conv2d(_SEMANTIC, FEATURES, 1)
        nn.init.zeros_(self.gate.weight)
        assert self.gate.bias is not None
        nn.init.zeros_(self.gate.bias)

    def features(self, rgb: Tensor, semantic: Tensor) -> Tensor:
        """See `Design.features`."""
        meaning = self.branch(semantic)
        gated = rgb * (2 * torch.sigmoid(self.gate(meaning)))
        return torch.cat([gated.mean((2, 3)), meaning.mean((2, 3))], dim=1)


class Regions(Design):
    """Pooled features beside what the features are like on each class's region."""

    def __init__(self, classes: int, scenes: int) -> None:
        super().__init__(FEATURES + classes * (_REGION + 1), scenes)
        self.look = _look()

    def features(self, rgb: Tensor, semantic: Tensor) -> Tensor:
        """See `Design.features`."""
        return torch.cat([rgb.mean((2, 3)), _regions(self.look(rgb), semantic)], dim=1)


class GateAndRegions(OpenGate):
    """`OpenGate` and `Regions` together: the packaged model's."""

    def __init__(self, classes: int, scenes: int) -> None:
        super().__init__(classes, scenes, more=classes * (_REGION + 1))
        self.look = _look()

    def features(self, rgb: Tensor, semantic: Tensor) -> Tensor:
        """See `Design.features`."""
        return torch.cat([super().features(rgb, semantic), _regions(self.look(rgb), semantic)], dim=1)


DESIGNS: dict[str, type[Design]] = {
    "rgb": RgbOnly,
    "semantic": SemanticOnly,
    "concatenation": Concatenation,
    "late_sum": LateSum,
    "paper_gate": PaperGate,
    "open_gate": OpenGate,
    "regions": Regions,
    "gate_and_regions": GateAndRegions,
}


def _branch(classes: int) -> nn.Sequential:
    """Class probabilities at 16x16 to semantic features at 4x4."""

    def layer(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(*layer(classes, 64, 2), *layer(64, 128, 2), *layer(128, _SEMANTIC, 1))


def _look() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(FEATURES, _REGION, 1, bias=False), nn.BatchNorm2d(_REGION), nn.ReLU())


def _regions(look: Tensor, semantic: Tensor) -> Tensor:
    """Mean features of each class's region, fading with its share of the picture, and that share."""
    masks = F.avg_pool2d(semantic, MAP_SIDE // PLACES)
    share = masks.mean((2, 3))
    sums = masks.flatten(2) @ look.flatten(2).transpose(1, 2) / PLACES**2
    return torch.cat([(sums / (share[..., None] + _FADE)).flatten(1), share], dim=1)
