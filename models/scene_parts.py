"""A scene network of the reference in parts, so that live use and explanations run no more of it than they need.

    picture --> rgb -----------------------\\
    semantics --> stem --> semantic --> join --> logits, pooled features, gate

The networks' own `forward` is the same from end to end; a test holds the two together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from models.classifiers.places_baseline import PlacesBaseline
from models.classifiers.two_branch import RGBNet, SemanticNet, TwoBranchNet
from models.errors import ModelError
from models.layers.activation import weighted_sum
from models.layers.semantic_stem import Top3

__all__ = ["Joined", "SceneParts", "scene_parts"]


class Joined(NamedTuple):
    """What a scene network says of pictures (B, ...), and what it says it by."""

    logits: Tensor  # (B, C)
    features: Tensor  # (B, F, h, w), of which the head takes the average
    gate: Tensor | None  # (B, h, w) in 0..1, the mean over the gated channels; None without a gate


class SceneParts(nn.Module):
    """The parts of a network with both branches.

    Attributes:
        uses_rgb, uses_semantics: which of the two inputs the network looks at.
        head: takes averaged features to scene logits; None where the network's head is not of this kind.
        branch_heads: those of the branches alone, by branch ("rgb", "semantic").
    """

    uses_rgb = True
    uses_semantics = True
    network: Any  # of the kind that the class is for

    def __init__(self, network: TwoBranchNet) -> None:
        super().__init__()
        self.network = network
        self.head: nn.Linear | None = network.fc
        self.branch_heads = {"rgb": network.fc_RGB, "semantic": network.fc_SEM}

    def rgb(self, picture: Tensor) -> Tensor:
        """Features e4 (B, 512 or 2048, 7, 7) of pictures (B, 3, 224, 224), normalised."""
        e4: Tensor = self.network.rgb_features(picture)
        return e4

    def stem(self, semantics: Top3) -> Tensor:
        """The first convolution (B, 64, 112, 112) of semantic maps (B, 3, 224, 224), by look-up."""
        first: Tensor = self.network.look_up(semantics)
        return first

    def semantic(self, stem: Tensor) -> Tensor:
        """Features y3 (B, 512, 7, 7) of the stem's output."""
        y3: Tensor = self.network.semantic_features(stem)
        return y3

    def join(self, rgb: Tensor | None, semantic: Tensor | None) -> Joined:
        """Scenes from the features of the branches; one of another batch size 1 serves all pictures of the other."""
        assert rgb is not None
        assert semantic is not None
        net = self.network
        gate = net.gate(semantic)
        features = net.lastConvRGB2(net.lastConvRGB1(rgb)) * gate
        return Joined(net.fc(features.mean((2, 3))), features, gate.mean(1))

    def activation(self, joined: Joined, scenes: Tensor) -> Tensor | None:
        """(B, h, w): what each place adds to the logit of a scene (B,) int64; its mean is the logit without the bias.

        None where the head does not average features.
        """
        if self.head is None:
            return None
        return weighted_sum(joined.features, self.head.weight[scenes])


class _SemanticParts(SceneParts):
    """The semantic branch alone."""

    uses_rgb = False

    def __init__(self, network: SemanticNet) -> None:
        nn.Module.__init__(self)
        self.network = network
        self.head = network.fc_SEM
        self.branch_heads = {}

    def join(self, rgb: Tensor | None, semantic: Tensor | None) -> Joined:  # noqa: ARG002
        """See `SceneParts.join`."""
        assert semantic is not None
        assert self.head is not None
        return Joined(self.head(semantic.mean((2, 3))), semantic, None)


class _WholeParts(SceneParts):
    """A network that sees the picture alone; `rgb` leaves everything to `join`."""

    uses_semantics = False

    def __init__(self, network: RGBNet | PlacesBaseline) -> None:
        nn.Module.__init__(self)
        self.network = network
        self.head = _averaging_head(network)
        self.branch_heads = {}

    def rgb(self, picture: Tensor) -> Tensor:
        """The pictures themselves."""
        return picture

    def join(self, rgb: Tensor | None, semantic: Tensor | None) -> Joined:  # noqa: ARG002
        """See `SceneParts.join`."""
        output = self.network(rgb, None)
        return Joined(output.scene, output.features, None)


def scene_parts(network: nn.Module) -> SceneParts:
    """The parts of a network, which they share with it.

    Raises:
        ModelError: a network of another kind.
    """
    if isinstance(network, TwoBranchNet):
        return SceneParts(network)
    if isinstance(network, SemanticNet):
        return _SemanticParts(network)
    if isinstance(network, RGBNet | PlacesBaseline):
        return _WholeParts(network)
    raise ModelError(f"a network of the kind {type(network).__name__} runs in a joint model only")


def _averaging_head(network: RGBNet | PlacesBaseline) -> nn.Linear | None:
    """The linear layer that comes right after the average over the places; AlexNet and VGG have none."""
    if isinstance(network, RGBNet):
        return network.fc
    last = getattr(network.network, "fc", None) or getattr(network.network, "classifier", None)
    return last if isinstance(last, nn.Linear) else None
