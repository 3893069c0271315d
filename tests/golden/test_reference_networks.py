"""The reference's networks give the numbers of its public implementation.

The numbers come from `reference/goldens.json` in the folder `shared` beside the repository (float32, CPU, weights and
inputs by formula, in `goldens.py` there); without that folder those tests are skipped and the small facts remain.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch
from torch import nn

from config.errors import UnknownPluginError
from config.plugins import Registry
from models.classifiers.two_branch import RGBNet, SceneLogits, SemanticNet, TwoBranchNet
from models.encoding import scatter_top3

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "reference"
needs_goldens = pytest.mark.skipif(
    not (FOLDER / "goldens.json").is_file(), reason="no folder shared/reference beside the repository"
)
TOLERANCE = 1e-3  # of the largest of the eight numbers, and of std

NETWORKS = {
    "sascene_r18_365": lambda: TwoBranchNet("resnet18", 365),
    "sascene_r50_67": lambda: TwoBranchNet("resnet50", 67),
    "sascene_r18_1055": lambda: TwoBranchNet("resnet18", 1055),
    "rgb_r18_365": lambda: RGBNet("resnet18", 365),
    "rgb_r50_397": lambda: RGBNet("resnet50", 397),
    "sem_365": lambda: SemanticNet(365),
}
FIELDS = {"scene": "scene", "features": "features", "rgb": "rgb", "semantic": "sem"}  # of the output: in the goldens
PARAMETERS = {
    "sascene_r18_365": 28_156_935,
    "sascene_r50_67": 61_214_857,
    "sascene_r18_1055": 29_572_125,
    "rgb_r18_365": 11_363_757,
    "rgb_r50_397": 24_321_485,
    "sem_365": 2_257_133,
}


@pytest.fixture(scope="module")
def formulas() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_goldens", FOLDER / "goldens.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def goldens() -> dict[str, Any]:
    return json.loads((FOLDER / "goldens.json").read_text())


@pytest.fixture(scope="module")
def inputs(formulas: ModuleType, goldens: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    picture, labels, scores = formulas.scene_inputs(goldens["seed"])
    semantic = np.stack([scatter_top3(*pair) for pair in zip(labels, scores, strict=True)])
    return torch.from_numpy(picture), torch.from_numpy(semantic)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def fill(network: nn.Module, formulas: ModuleType, seed: int) -> None:
    state = network.state_dict()
    for key, value in state.items():
        if value.ndim > 0:
            state[key] = torch.from_numpy(formulas.weight(key, tuple(value.shape), seed))
    network.load_state_dict(state)


def assert_agrees(found: dict[str, Any], golden: dict[str, Any]) -> None:
    first, expected = np.array(found["first8"]), np.array(golden["first8"])
    assert found["shape"] == golden["shape"]
    assert found["argmax"] == golden["argmax"]
    assert np.abs(first - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert abs(found["std"] - golden["std"]) <= TOLERANCE * golden["std"]


@pytest.fixture(scope="module", params=NETWORKS)
def filled(request, formulas: ModuleType, goldens: dict[str, Any]) -> tuple[dict[str, Any], nn.Module]:
    """What is expected of a network, and the network."""
    network = NETWORKS[request.param]().eval()
    fill(network, formulas, goldens["seed"])
    return goldens["scene"][request.param], network


@needs_goldens
def test_state_and_outputs_agree_with_the_reference(
    filled: tuple[dict[str, Any], nn.Module], formulas: ModuleType, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    golden, network = filled
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == golden["state"]
    assert parameters(network) == golden["params"]
    with torch.inference_mode():
        output = network(*inputs)
    for field, key in FIELDS.items():
        assert_agrees(formulas.digest(getattr(output, field).numpy()), golden[key])


@needs_goldens
@pytest.mark.filterwarnings("ignore:.*torch.jit")  # OpenVINO's converter traces
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # our checks of shapes
def test_openvino_agrees_with_the_reference(
    filled: tuple[dict[str, Any], nn.Module], formulas: ModuleType, inputs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    golden, network = filled
    converted = ov.convert_model(network, example_input=tuple(value[:1] for value in inputs))
    compiled = ov.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = compiled({"rgb": inputs[0].numpy(), "semantic": inputs[1].numpy()}).to_tuple()
    for array, key in zip(outputs, FIELDS.values(), strict=True):
        assert_agrees(formulas.digest(array), golden[key])


@needs_goldens
@pytest.mark.parametrize("name", ["sascene_r50_67", "sem_365"])
def test_the_state_has_the_reference_s_order(name: str, goldens: dict[str, Any]) -> None:
    # An optimiser's state counts parameters by position.
    with torch.device("meta"):  # names need no numbers
        network = NETWORKS[name]()
    assert list(network.state_dict()) == list(goldens["scene"][name]["state"])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        assert parameters(NETWORKS[name]()) == PARAMETERS[name]


def test_names_of_the_public_checkpoints() -> None:
    state = {key: tuple(value.shape) for key, value in TwoBranchNet("resnet18", 7).state_dict().items()}
    assert len(state) == 180
    facts = {
        "in_block.0.weight": (64, 3, 7, 7),
        "encoder4.1.conv2.weight": (512, 512, 3, 3),
        "in_block_sem.0.weight": (64, 152, 7, 7),
        "in_block_sem_2.ca.fc1.weight": (16, 256, 1, 1),
        "lastConvRGB1.0.weight": (512, 512, 3, 3),
        "lastConvSEM2.1.running_mean": (1024,),
        "fc_RGB.bias": (7,),
        "fc_SEM.weight": (7, 512),
        "fc.weight": (7, 1024),
    }
    assert facts.items() <= state.items()


def test_a_picture_alone_in_its_batch() -> None:
    rgb, semantic = torch.zeros(1, 3, 224, 224), torch.zeros(1, 152, 224, 224)
    network = TwoBranchNet("resnet18", 5).eval()
    with torch.inference_mode():
        output = network(rgb, semantic)
        gate = network.gate(torch.randn(1, 512, 7, 7))
    assert isinstance(output, SceneLogits)
    assert output._fields == ("scene", "features", "rgb", "semantic")
    assert [tuple(part.shape) for part in output] == [(1, 5), (1, 1024, 3, 3), (1, 5), (1, 5)]
    assert gate.shape == (1, 1024, 3, 3)
    assert gate.min() >= 0
    assert gate.max() <= 1


def test_one_branch_alone_ignores_the_other_input() -> None:
    rgb, semantic = torch.randn(1, 3, 224, 224), torch.rand(1, 9, 224, 224)
    with torch.inference_mode():
        picture = RGBNet("resnet18", 5).eval()
        of_rgb = picture(rgb, semantic)
        assert torch.equal(of_rgb.scene, picture(rgb).scene)
        classes = SemanticNet(5, semantic_classes=8).eval()
        of_semantic = classes(rgb, semantic)
        assert torch.equal(of_semantic.scene, classes(None, semantic).scene)
    assert of_rgb.features.shape == of_semantic.features.shape == (1, 512, 7, 7)
    for output in (of_rgb, of_semantic):
        assert torch.equal(output.rgb, output.scene)
        assert torch.equal(output.semantic, output.scene)


def test_gradients_reach_both_branches_through_the_gate() -> None:
    network = TwoBranchNet("resnet18", 3, semantic_classes=4)
    network(torch.randn(2, 3, 224, 224), torch.rand(2, 5, 224, 224)).scene.sum().backward()
    for name, parameter in network.named_parameters():
        is_other_head = name.startswith(("fc_RGB", "fc_SEM"))
        assert (parameter.grad is None) == is_other_head, name
    for name in ("in_block.0", "in_block_sem.0", "in_block_sem_2.ca.fc1", "lastConvSEM2.0", "fc"):
        gradient = network.get_submodule(name).weight.grad
        assert gradient.abs().sum() > 0, name


@pytest.mark.parametrize(
    ("rgb", "semantic", "message"),
    [
        ((1, 3, 256, 224), (1, 5, 224, 224), r"\(B, 3, 224, 224\), not \(1, 3, 256, 224\): resize"),
        ((3, 224, 224), (1, 5, 224, 224), "batch axis"),
        ((1, 3, 224, 224), (1, 4, 224, 224), r"\(B, 5, 224, 224\).*scatter_top3 makes 5 channels"),
        ((1, 3, 224, 224), (1, 5, 112, 112), "crop it like the picture"),
    ],
)
def test_wrong_shapes_say_the_remedy(rgb: tuple[int, ...], semantic: tuple[int, ...], message: str) -> None:
    network = TwoBranchNet("resnet18", 3, semantic_classes=4).eval()
    with pytest.raises(ValueError, match=message):
        network(torch.zeros(rgb), torch.zeros(semantic))


def test_an_unknown_backbone_gets_the_known_ones() -> None:
    for network in (TwoBranchNet, RGBNet):
        with pytest.raises(UnknownPluginError, match="unknown backbone 'vgg19'; known: resnet18, resnet50"):
            network("vgg19", 3)


@pytest.mark.parametrize(("branches", "kind"), [("both", TwoBranchNet), ("rgb", RGBNet), ("semantic", SemanticNet)])
def test_it_is_a_plugin(branches: str, kind: type[nn.Module]) -> None:
    registry = Registry("classifier", "models.classifiers")
    network = registry.build("two_branch", {"branches": branches, "scene_classes": 3, "semantic_classes": 4})
    assert isinstance(network, kind)
