from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from legacy_pickle import write_legacy
from torch import Tensor

from config.labels import load_labels
from models.checkpoint import read_checkpoint
from models.classifiers.two_branch import RGBNet, SemanticNet, TwoBranchNet
from models.encoding import LabelBase
from models.errors import ModelError
from models.identify import identify
from models.label_base import STEM, guess_label_base
from models.scene_classifier import labels_for, load_scene_network
from models.scene_network import CLASSIFIERS
from models.segmenters import build_csail

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "goldens.json"
needs_goldens = pytest.mark.skipif(not GOLDENS.is_file(), reason="no folder shared/reference beside the repository")

SEGMENTERS = ("upernet_r50", "ppm_r50dilated", "c1_mobilenetv2")


def without_numbers(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def two_branch(**options: Any) -> dict[str, Tensor]:
    with torch.device("meta"):
        return TwoBranchNet(**options).state_dict()


@needs_goldens
@pytest.mark.parametrize(
    ("name", "title", "params"),
    [
        ("sascene_r18_365", "two-branch ResNet-18", {"branches": "both", "backbone": "resnet18", "scene_classes": 365}),
        ("sascene_r50_67", "two-branch ResNet-50", {"branches": "both", "backbone": "resnet50", "scene_classes": 67}),
        ("rgb_r50_397", "RGB-only ResNet-50", {"branches": "rgb", "backbone": "resnet50", "scene_classes": 397}),
        ("sem_365", "semantic-only network", {"branches": "semantic", "semantic_classes": 151, "scene_classes": 365}),
    ],
)
def test_the_reference_s_scene_networks(name: str, title: str, params: dict[str, Any]) -> None:
    found = identify(without_numbers(json.loads(GOLDENS.read_text())["scene"][name]["state"]))
    assert (found.title, found.role, found.spec.kind) == (title, "scene", "two_branch")
    assert params.items() <= found.spec.params.items()
    assert found.scene_classes == params["scene_classes"]


@needs_goldens
@pytest.mark.parametrize("name", SEGMENTERS)
@pytest.mark.parametrize("bookkeeping", [True, False])
def test_the_reference_s_segmenters(name: str, bookkeeping: bool) -> None:
    golden = json.loads(GOLDENS.read_text())["segmenters"][name]
    with torch.device("meta"):
        whole = build_csail(name)
    for part in ("encoder", "decoder"):
        shapes = golden[f"{part}_state"]
        if not bookkeeping:  # files of other libraries lack what training on several cards keeps
            shapes = {key: shape for key, shape in shapes.items() if "._tmp_" not in key and "_iter" not in key}
        found = identify(without_numbers(shapes))
        assert found.role == f"segmenter {part}"
        assert name in found.segmenters
        assert found.state.keys() == whole.get_submodule(part).state_dict().keys()


def test_two_segmenters_have_the_same_encoder() -> None:
    with torch.device("meta"):
        found = identify(build_csail("ppm_r50dilated").encoder.state_dict())
    assert found.segmenters == ("upernet_r50", "ppm_r50dilated")
    assert found.title == "encoder of upernet_r50 or ppm_r50dilated"


def old_densenet(key: str) -> str:
    for part in ("norm1", "norm2", "conv1", "conv2"):
        key = key.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
    return key


# How the four networks with public weights name their parameters, as their training wrapped them.
PUBLIC_NAMES = {
    "alexnet": lambda key: key.replace("features.", "features.module."),
    "resnet18": lambda key: f"module.{key}",
    "resnet50": lambda key: f"module.{key}",
    "densenet161": lambda key: f"module.{old_densenet(key)}",
}


@pytest.mark.parametrize("architecture", PUBLIC_NAMES)
def test_public_baselines_in_the_format_of_their_time(tmp_path: Path, architecture: str) -> None:
    spec = {"architecture": architecture, "scene_classes": 365}
    with torch.device("meta"):
        state = CLASSIFIERS.build("places_baseline", spec).network.state_dict()
    # Real names, real number of dimensions; numbers by the hundred megabytes would show nothing more.
    public = {
        PUBLIC_NAMES[architecture](key): torch.zeros([1] * value.ndim)
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    checkpoint = read_checkpoint(write_legacy(tmp_path / "p.pth.tar", public, epoch=90, best_prec1=54.0, arch="x"))
    assert set(checkpoint.state) == set(state)
    full = {key: torch.empty(state[key].shape, device="meta") for key in checkpoint.state}
    found = identify(full)
    assert (found.spec.kind, found.spec.params) == ("places_baseline", spec)


def test_a_public_resnet_18_loads_and_classifies(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = CLASSIFIERS.build("places_baseline", {"architecture": "resnet18", "scene_classes": 365}).eval()
    state = {f"module.{k}": v for k, v in network.network.state_dict().items() if not k.endswith("num_batches_tracked")}
    path = write_legacy(tmp_path / "resnet18_places365.pth.tar", state, epoch=90, best_prec1=54.7, arch="resnet18")
    loaded = load_scene_network(path, expect="rgb")
    assert loaded.labels == load_labels("places365").names
    assert loaded.meta == {"epoch": 90, "best_prec1": 54.7, "arch": "resnet18"}
    picture = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.module(picture).scene, network(picture).scene)
    assert not loaded.module.training


def test_googlenets_heads_for_training_are_left_out() -> None:
    with torch.device("meta"):
        state = CLASSIFIERS.build("places_baseline", {"architecture": "googlenet"}).network.state_dict()
    found = identify(state | {"aux1.fc2.weight": torch.empty(365, 1024, device="meta")})
    assert found.title == "GoogLeNet baseline"
    assert not any("aux" in key for key in found.state)


def test_another_network_is_refused_with_the_keys_that_differ() -> None:
    state = two_branch(scene_classes=67)
    del state["fc_RGB.bias"], state["in_block.0.weight"]
    state["extra.weight"] = torch.empty(1)
    state["fc_SEM.weight"] = torch.empty(9, 512)
    with pytest.raises(ModelError) as caught:
        identify(state, "checkpoint a.pth.tar")
    assert str(caught.value) == (
        "checkpoint a.pth.tar fits no known network; the closest is the two-branch ResNet-18 for 67 scenes, but of its "
        "keys are: 2 missing (in_block.0.weight, fc_RGB.bias); 1 unexpected (extra.weight); "
        "1 of another shape (fc_SEM.weight is 9x512, not 67x512)"
    )


def test_many_differing_keys_are_counted() -> None:
    state = {key: value for key, value in two_branch().items() if not key.startswith("encoder2")}
    with pytest.raises(ModelError, match=r"30 missing \(encoder2[\w.]+, encoder2[\w.]+, encoder2[\w.]+ and 27 more\)$"):
        identify(state)


def test_a_segmenter_s_decoder_with_other_classes_is_refused() -> None:
    with torch.device("meta"):
        state = build_csail("c1_mobilenetv2").decoder.state_dict()
    state["conv_last.weight"] = torch.empty(19, 80, 1, 1)
    with pytest.raises(
        ModelError, match=r"decoder of c1_mobilenetv2, but .*\(conv_last.weight is 19x80x1x1, not 150x80"
    ):
        identify(state)


def test_nothing_in_common_lists_the_known_networks() -> None:
    with pytest.raises(ModelError, match=r"none of their names but head.weight; known: two-branch ResNet-50.*AlexNet"):
        identify({"head.weight": torch.zeros(3)})


def test_a_file_that_claims_a_billion_classes_is_refused_without_making_them() -> None:
    huge = torch.zeros(1).expand(10**9, 1024)
    with pytest.raises(ModelError, match=r"fc.weight is 1000000000x1024"):
        identify(two_branch() | {"fc.weight": huge})


def write(path: Path, network: torch.nn.Module, **meta: Any) -> Path:
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}, **meta}, path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    networks = {"both": TwoBranchNet("resnet18", 67), "rgb": RGBNet("resnet18", 67), "semantic": SemanticNet(67)}
    return {branch: write(folder / f"{branch}.pth.tar", net, epoch=1) for branch, net in networks.items()}


@pytest.mark.parametrize("branch", ["both", "rgb", "semantic"])
def test_each_branch_loads_and_another_one_is_refused(files: dict[str, Path], branch: Any) -> None:
    loaded = load_scene_network(files[branch], expect=branch)
    assert loaded.branch == branch
    assert loaded.labels == load_labels("mit67").names
    assert loaded.crop.short_side == 256
    assert all(value.device.type == "cpu" for value in loaded.module.state_dict().values())
    other = "rgb" if branch != "rgb" else "semantic"
    with pytest.raises(ModelError, match=f"ask for '{branch}' or give another checkpoint"):
        load_scene_network(str(files[branch]), expect=other)


def test_weights_in_half_precision_become_float32(tmp_path: Path) -> None:
    loaded = load_scene_network(write(tmp_path / "half.pth", SemanticNet(5).half()))
    assert {value.dtype for value in loaded.module.parameters()} == {torch.float32}


def test_labels_come_from_the_file_or_from_the_number_of_classes(tmp_path: Path) -> None:
    network = SemanticNet(3)
    assert load_scene_network(write(tmp_path / "a.pth", network, labels=["x", "y", "z"])).labels == ("x", "y", "z")
    unnamed = load_scene_network(write(tmp_path / "b.pth", network))
    assert (unnamed.labels, unnamed.scene_classes) == (None, 3)
    with pytest.raises(ModelError, match="2 labels for a network with 3 scene classes"):
        load_scene_network(write(tmp_path / "c.pth", network, labels=["x", "y"]))
    with pytest.raises(ModelError, match="name a scene twice"):
        load_scene_network(write(tmp_path / "d.pth", network, labels=["x", "y", "x"]))
    for count, name in ((365, "places365"), (67, "mit67"), (397, "sun397"), (1055, "ade20k_scenes")):
        assert labels_for(count) == load_labels(name).names


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no_such_model", "neither a checkpoint file nor a model; models known here: scene18"),
        ("no/such.pth.tar", "there is no checkpoint"),
        ("scene18", "'scene18' is a joint model; a scene network of its own is needed"),
    ],
)
def test_what_is_no_scene_network(source: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCENE_STREAMER_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=message):
        load_scene_network(source)


def test_a_segmenter_s_file_is_no_scene_network(tmp_path: Path) -> None:
    torch.save(build_csail("c1_mobilenetv2").decoder.state_dict(), tmp_path / "decoder.pth")
    with pytest.raises(ModelError, match="is the decoder of c1_mobilenetv2, not a scene network"):
        load_scene_network(tmp_path / "decoder.pth")


def stem(last: float, live: float = 2.0) -> dict[str, Tensor]:
    """Weights whose channels 1..150 have learnt (`live` times as strong as channel 0), channel 151 `last` times."""
    weight = torch.randn(64, 152, 7, 7, generator=torch.Generator().manual_seed(5)) * 0.02
    weight[:, 1:151] *= live
    weight[:, 151] *= last
    return {STEM: weight}


@pytest.mark.parametrize(
    ("state", "base"),
    [(stem(1.0), LabelBase.ZERO), (stem(1.4), LabelBase.ONE), (stem(0.5), LabelBase.ONE), (stem(1.0, 1.0), None)],
)
def test_the_guess_of_the_label_base(state: dict[str, Tensor], base: LabelBase | None) -> None:
    guess = guess_label_base(state)
    assert guess is not None
    assert guess.base == base
    assert ("weak evidence" in guess.evidence) == (base is not None)
    assert f"{guess.ratio:.2f}" in guess.evidence


def test_no_guess_without_the_152_channels() -> None:
    assert guess_label_base({}) is None
    assert guess_label_base({STEM: torch.zeros(64, 20, 7, 7)}) is None
    guess = guess_label_base({STEM: torch.zeros(64, 152, 7, 7)})
    assert guess is not None
    assert guess.base is None
