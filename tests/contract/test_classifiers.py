"""What every classifier promises: those of the reference kind, which see crops, and those of a joint model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from config.errors import ConfigError
from models.classifiers.places_baseline import PlacesBaseline
from models.classifiers.two_branch import SceneLogits
from models.identify import identify
from models.layers.semantic_stem import Top3
from models.scene_network import CLASSIFIERS

# What a joint model's segmenter tells its classifier.
JOINT = {"feature_channels": 16, "semantic_classes": 8, "scene_classes": 5}
CONTEXTS: dict[str, dict[str, int]] = {"semantic_gate": JOINT}

ARCHITECTURES = ("alexnet", "googlenet", "resnet18", "resnet50", "vgg19", "densenet161")
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "two_branch": [
        {"branches": "both", "backbone": "resnet18", "scene_classes": 5},
        {"branches": "both", "backbone": "resnet50", "scene_classes": 5},
        {"branches": "rgb", "backbone": "resnet50", "scene_classes": 5},
        {"branches": "semantic", "scene_classes": 5},
    ],
    "places_baseline": [{"architecture": name, "scene_classes": 5} for name in ARCHITECTURES],
}
REFERENCE = [name for name in CLASSIFIERS.names() if name not in CONTEXTS]
EVERY = [(name, values) for name in REFERENCE for values in VARIANTS.get(name, [{}])]
FEATURES = {"alexnet": (256, 6, 6), "densenet161": (2208, 7, 7), "googlenet": (1024, 7, 7), "vgg19": (512, 7, 7)}


def label(value: Any) -> str:
    return "-".join(map(str, value.values())) if isinstance(value, dict) else str(value)


@pytest.fixture(scope="module", params=REFERENCE)
def network(request) -> nn.Module:
    torch.manual_seed(1)
    values = VARIANTS.get(request.param, [{}])
    small = {"architecture": "resnet18", "scene_classes": 5} if request.param == "places_baseline" else values[0]
    return CLASSIFIERS.build(request.param, small).eval()


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    return torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def semantics() -> Top3:
    labels = torch.arange(3).view(1, 3, 1, 1) + torch.tensor([3, 90]).view(2, 1, 1, 1)
    scores = torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1)
    return Top3(labels.expand(2, 3, 224, 224).contiguous(), scores.expand(2, 3, 224, 224).contiguous())


@pytest.mark.parametrize("name", CLASSIFIERS.names())
def test_unknown_parameters_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no_such_key"):
        CLASSIFIERS.build(name, {"no_such_key": 1}, **CONTEXTS.get(name, {}))


@pytest.mark.parametrize("name", CLASSIFIERS.names())
def test_every_parameter_has_a_default(name: str) -> None:
    with torch.device("meta"):
        assert isinstance(CLASSIFIERS.build(name, {}, **CONTEXTS.get(name, {})), nn.Module)


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_joint_model_s_classifier_reads_features_and_class_scores(name: str) -> None:
    network = CLASSIFIERS.build(name, {}, **JOINT).eval()
    features, scores = torch.randn(2, 16, 8, 8), torch.randn(2, 8, 32, 32).softmax(1)
    with torch.inference_mode():
        output = network(features, scores)
    for logits in (output.scene, output.rgb, output.semantic):
        assert logits.shape == (2, 5)
        assert torch.isfinite(logits).all()
    assert output.gate.shape == (2, 8, 8)
    assert output.gate.min() >= 0
    assert output.gate.max() <= 1


@pytest.mark.parametrize(("name", "values"), EVERY, ids=label)
def test_shapes_of_crops_to_logits(name: str, values: dict[str, Any]) -> None:
    with torch.device("meta"):  # shapes need no numbers
        network = CLASSIFIERS.build(name, values).eval()
        output = network(torch.empty(3, 3, 224, 224), torch.empty(3, 152, 224, 224))
    assert isinstance(output, SceneLogits)
    assert {tuple(logits.shape) for logits in (output.scene, output.rgb, output.semantic)} == {(3, 5)}
    assert output.features.shape[0] == 3
    assert output.features.ndim == 4
    if (architecture := values.get("architecture")) in FEATURES:
        assert output.features.shape[1:] == FEATURES[architecture]


@pytest.mark.parametrize(("name", "values"), EVERY, ids=label)
def test_it_is_recognised_from_its_own_state(name: str, values: dict[str, Any]) -> None:
    with torch.device("meta"):
        state = CLASSIFIERS.build(name, values).state_dict()
    found = identify(state)
    assert (found.role, found.scene_classes, found.spec.kind) == ("scene", 5, name)
    assert values.items() <= found.spec.params.items()
    assert list(found.state) == list(state)


def test_it_says_which_inputs_it_uses_and_ignores_the_others(
    network: nn.Module, pictures: Tensor, semantics: Top3
) -> None:
    assert network.uses_rgb or network.uses_semantics
    with torch.inference_mode():
        both = network(pictures, semantics).scene
        other = network(pictures.flip(0), Top3(*(part.flip(0) for part in semantics))).scene
        if not network.uses_semantics:
            assert torch.equal(network(pictures, None).scene, both)
        if not network.uses_rgb:
            assert torch.equal(network(None, semantics).scene, both)
    assert not torch.allclose(both, other)


def test_semantics_come_dense_or_as_the_three_best(network: nn.Module, pictures: Tensor, semantics: Top3) -> None:
    with torch.inference_mode():
        short, dense = network(pictures, semantics), network(pictures, semantics.dense(151))
    torch.testing.assert_close(short.scene, dense.scene, atol=1e-4, rtol=1e-4)


def test_pictures_of_a_batch_do_not_meet(network: nn.Module, pictures: Tensor, semantics: Top3) -> None:
    with torch.inference_mode():
        together = network(pictures, semantics).scene
        alone = network(pictures[1:], Top3(*(part[1:] for part in semantics))).scene
    torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=1e-4)


def test_wrong_sizes_say_the_remedy(network: nn.Module, semantics: Top3) -> None:
    with pytest.raises(ValueError, match="resize"):
        network(torch.zeros(1, 3, 100, 224), semantics)


@pytest.mark.parametrize("architecture", ["alexnet", "googlenet", "resnet18", "densenet161"])
def test_a_baseline_gives_what_torchvision_s_network_gives(architecture: str) -> None:
    torch.manual_seed(0)
    baseline = PlacesBaseline(architecture, 4).eval()
    picture = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        ours, theirs = baseline(picture), baseline.network(picture)
    torch.testing.assert_close(ours.scene, theirs)
    assert torch.equal(ours.rgb, ours.scene)
    assert torch.equal(ours.semantic, ours.scene)
