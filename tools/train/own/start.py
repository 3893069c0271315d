"""What a training starts from: a joint model's network, its last layers made anew for other scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from models.errors import ModelError
from models.package import ModelPackage, find_package
from models.scene_network import SceneNetwork, build_scene_network
from tools.export import load_weights


class Start(NamedTuple):
    """A network ready to learn other scenes."""

    network: SceneNetwork
    new: frozenset[str]  # names of the parameters that are random: those of the classifier's last layers


def find_start(name: str) -> ModelPackage:
    """The joint model `name`, by its name or its folder.

    Raises:
        ModelError: there is none, or it is of another kind.
    """
    package = find_package(name)
    if package.manifest.kind != "joint":
        raise ModelError(
            f"model {name!r} is a {package.manifest.kind} model; own scenes start from one that segments and "
            "classifies in one network, such as scene18"
        )
    return package


def network_parts(package: ModelPackage, labels: Sequence[str]) -> dict[str, Any]:
    """What `build_scene_network` needs for a network like the model's that names `labels`."""
    segmenter, classifier = package.manifest.segmenter, package.manifest.classifier
    assert segmenter is not None
    assert classifier is not None
    return {"segmenter": segmenter.model_dump(), "classifier": classifier.model_dump(), "labels": list(labels)}


def start_network(package: ModelPackage, labels: Sequence[str]) -> Start:
    """The model's network with its weights, except for the layers whose shape depends on the number of scenes."""
    old = build_scene_network(network_parts(package, package.labels))
    load_weights(old, package.path("weights"))
    network = build_scene_network(network_parts(package, labels))
    # The same number of scenes is no reason to keep the layers: they are other scenes.
    larger = build_scene_network(network_parts(package, [*labels, "one more"])).state_dict()
    new = frozenset(name for name, tensor in network.state_dict().items() if tensor.shape != larger[name].shape)
    network.load_state_dict({name: t for name, t in old.state_dict().items() if name not in new}, strict=False)
    return Start(network, new)


class ClassifierInputs(nn.Module):
    """The part of a network that stays as it is: from pictures to whatever its classifier is given."""

    def __init__(self, network: SceneNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        """Encoder features and class scores of normalised pictures (B, 3, H, W), as the classifier takes them."""
        given: list[tuple[Tensor, ...]] = []
        hook = self.network.classifier.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
        try:
            self.network.forward_training(picture)
        finally:
            hook.remove()
        return given[0]
