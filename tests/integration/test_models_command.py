"""Models from checkpoint to package through the command line: import, list, info, verify."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from legacy_pickle import Call, legacy_bytes, write_legacy
from torch import nn

from config.labels import load_labels
from models.classifiers.two_branch import RGBNet, SemanticNet, TwoBranchNet
from models.encoding import LabelBase
from models.errors import ModelError
from models.package import find_package, user_models, user_models_folder
from models.scene_classifier import load_scene_network
from models.segmentation import load_segmenter
from models.segmenters import build_csail
from streamer.errors import OutputError
from tools.commands import run_command_line
from tools.zoo.importing import import_model, label_base_of, read_label_file

SCENES = ("bar", "corn_field", "kitchen")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCENE_STREAMER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


def formula(network: nn.Module) -> nn.Module:
    """Weights that depend on their names alone."""
    for key, value in network.state_dict().items():
        seed = torch.Generator().manual_seed(int(hashlib.sha256(key.encode()).hexdigest()[:8], 16))
        if value.ndim:
            positive = key.endswith("running_var") or (value.ndim == 1 and key.endswith("weight"))
            value.copy_(torch.randn(value.shape, generator=seed) * 0.05 + float(positive))
    return network.eval()


def public(path: Path, network: nn.Module, **meta: Any) -> Path:
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 12, "best_prec1": 61.5, **meta}, path)
    return path


@pytest.fixture(scope="module")
def semantic(folder: Path) -> Path:
    """A small network, whose file names its scenes."""
    return public(folder / "sem.pth.tar", formula(SemanticNet(3)), labels=list(SCENES))


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> tuple[Path, Path]:
    network = formula(build_csail("c1_mobilenetv2"))
    files = folder / "encoder_epoch_20.pth", folder / "decoder_epoch_20.pth"
    for file, part in zip(files, (network.encoder, network.decoder), strict=True):
        torch.save(part.state_dict(), file)
    return files


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_command_line(["models", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_from_a_public_two_branch_checkpoint_to_a_verified_model(folder: Path, call: Any) -> None:
    network = formula(TwoBranchNet("resnet18", 67))
    file = public(folder / "SAScene_ResNet18_MIT.pth.tar", network)
    code, out, err = call("import", file, "--as", "sascene-mit")
    assert (code, err) == (0, "")
    assert "scene, version" in out
    assert "67 scenes, two-branch ResNet-18" in out
    assert "label base" in out

    code, out, _ = call("info", "sascene-mit", "--json")
    report = json.loads(out)
    assert (code, report["kind"], report["classifier"]) == (0, "scene", "two_branch")
    assert report["labels"] == list(load_labels("mit67").names)
    assert report["classifier_params"]["backbone"] == "resnet18"
    assert report["origin"] == {
        "files": [{"path": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}],
        "title": "two-branch ResNet-18",
        "epoch": 12,
        "best_prec1": 61.5,
    }
    code, out, _ = call("list", "--json")
    assert report in json.loads(out)
    assert call("verify", "sascene-mit")[:2] == (0, "good sascene-mit: weights.safetensors\n")

    loaded = load_scene_network("sascene-mit", expect="both")
    state = loaded.module.state_dict()
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    assert user_models() == ["sascene-mit"]


def test_a_file_of_python_2_imports(tmp_path: Path, call: Any) -> None:
    state = {f"module.{key}": value for key, value in formula(SemanticNet(365)).state_dict().items()}
    file = write_legacy(tmp_path / "old.pth.tar", state, epoch=90, best_prec1=50.0, arch="x")
    code, out, _ = call("import", file, "--as", "old", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["origin"]["epoch"] == 90
    assert "evidence" in report["label_base"]
    assert len(report["labels"]) == 365


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_segmenter_of_two_files_in_any_order(segmenter: tuple[Path, Path], order: tuple[int, int], call: Any) -> None:
    code, out, err = call("import", *(segmenter[i] for i in order), "--as", "c1")
    assert (code, err) == (0, "")
    assert "segmenter c1_mobilenetv2" in out
    package = find_package("c1")
    assert package.manifest.kind == "segmenter"
    assert call("verify", "c1")[0] == 0
    assert "segmenter" in call("info", "c1")[1]
    loaded = load_segmenter("c1", device="cpu", short_sides=(64,))
    probabilities = loaded.probabilities(np.zeros((64, 80, 3), np.uint8))
    assert probabilities.shape == (150, 64, 80)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-4)


def test_damage_is_found_and_hides_no_other_model(semantic: Path, call: Any) -> None:
    for name in ("good", "bad", "worse", "worst"):
        import_model([semantic], name)
    weights = user_models_folder() / "bad" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (user_models_folder() / "worse" / "weights.safetensors").unlink()
    (user_models_folder() / "worst" / "model.json").write_text("{")

    code, out, err = call("verify", "--json")
    reports = {report["name"]: report for report in json.loads(out)}
    assert (code, err) == (1, "")
    assert [name for name, report in reports.items() if report["good"]] == ["scene18", "good"]
    assert "is damaged (SHA-256" in reports["bad"]["error"]
    assert "is missing" in reports["worse"]["error"]
    assert "no model description" in reports["worst"]["error"]
    code, out, _ = call("list")
    assert code == 0
    assert "worst                        damaged" in out
    assert call("verify", "good")[0] == 0
    assert call("info", "worse")[0] == 1


def test_weights_of_another_network_fail_in_verify(semantic: Path, call: Any) -> None:
    import_model([semantic], "mine")
    folder = user_models_folder() / "mine"
    weights = safetensors.torch.save(RGBNet("resnet18", 3).state_dict())
    (folder / "weights.safetensors").write_bytes(weights)
    manifest = json.loads((folder / "model.json").read_text())
    manifest["files"]["weights"]["sha256"] = hashlib.sha256(weights).hexdigest()
    (folder / "model.json").write_text(json.dumps(manifest))
    code, out, _ = call("verify", "mine")
    assert code == 1
    assert "BAD  mine: " in out
    manifest["classifier"]["params"] |= {"branches": "rgb", "backbone": "resnet50"}
    (folder / "model.json").write_text(json.dumps(manifest))
    assert call("verify", "mine")[0] == 1
    code, out, _ = call("verify", "no_such")
    assert code == 1
    assert "unknown model 'no_such'" in out


def refused(call: Any, *arguments: Any) -> str:
    code, out, err = call("import", *arguments)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert user_models() == []
    return err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scene18", "comes with Scene Streamer"),
        ("../evil", "cannot be called"),
        ("Big", "cannot be called"),
        (".hidden", "cannot be called"),
        ("a" * 65, "cannot be called"),
        ("", "cannot be called"),
    ],
)
def test_names_that_no_import_may_have(semantic: Path, call: Any, name: str, message: str) -> None:
    assert message in refused(call, semantic, "--as", name)


def test_files_that_are_not_what_they_should_be(
    semantic: Path, segmenter: tuple[Path, Path], folder: Path, tmp_path: Path, call: Any
) -> None:
    encoder, decoder = segmenter
    ppm = folder / "ppm.pth"
    torch.save(build_csail("ppm_r50dilated").decoder.state_dict(), ppm)
    state = SemanticNet(3).state_dict()
    del state["fc_SEM.bias"]
    other = tmp_path / "other.pth"
    torch.save({"state_dict": state | {"fc_TEXT.bias": torch.ones(3)}}, other)
    proof, evil = tmp_path / "proof", tmp_path / "evil.pth.tar"
    evil.write_bytes(legacy_bytes({"state_dict": Call("os", "system", f"touch {proof}")}))
    state = SemanticNet(3).state_dict()
    state["fc_SEM.bias"][1] = float("nan")
    broken = tmp_path / "nan.pth"
    torch.save(state, broken)

    cases = [
        ([tmp_path / "none.pth"], "there is no checkpoint"),
        ([encoder], "that is the encoder of c1_mobilenetv2: give a segmenter's encoder file and its decoder file"),
        ([decoder, decoder], "that is the decoder of c1_mobilenetv2 and the decoder of c1_mobilenetv2"),
        ([encoder, ppm], "the encoder of c1_mobilenetv2 and the decoder of ppm_r50dilated do not belong together"),
        ([semantic, encoder], "a semantic-only network, a whole model; import it alone"),
        ([semantic, semantic, semantic], "give the one file of a scene network, or the two of a segmenter"),
        ([other], "1 missing (fc_SEM.bias); 1 unexpected (fc_TEXT.bias)"),
        ([broken], "fc_SEM.bias has values that are no numbers"),
        ([evil], "asks for code to be executed (os.system) and was refused"),
    ]
    for files, message in cases:
        assert message in refused(call, *files, "--as", "mine")
    assert not proof.exists()


def test_labels_that_do_not_fit(tmp_path: Path, segmenter: tuple[Path, Path], semantic: Path, call: Any) -> None:
    unnamed = public(tmp_path / "unnamed.pth", SemanticNet(4))
    labels = tmp_path / "labels.txt"
    assert "for 4 scenes and does not name them; give the names with --labels" in refused(call, unnamed, "--as", "a")
    labels.write_text("one\ntwo\nthree\n")
    said = refused(call, unnamed, "--as", "a", "--labels", labels)
    assert "3 labels for a network with 4 scene classes" in said
    assert "without --labels" in refused(call, *segmenter, "--as", "a", "--labels", labels)
    assert "cannot be read" in refused(call, unnamed, "--as", "a", "--labels", tmp_path / "none.txt")
    labels.write_bytes(b"\xff\xfe\x00")
    assert "not text in UTF-8" in refused(call, unnamed, "--as", "a", "--labels", labels)


def test_a_file_of_labels_names_the_scenes(tmp_path: Path, semantic: Path) -> None:
    labels = tmp_path / "scene_names.txt"
    labels.write_text("/k/kitchen 2\n/f/field/cultivated 1\n/b/bar 0\n")
    assert read_label_file(labels) == ("bar", "field-cultivated", "kitchen")
    package = import_model([semantic], "mine", labels)
    assert package.labels == ("bar", "field-cultivated", "kitchen")
    labels.write_text("# name: mine\nroom 101\ttall\nroom 7\tsmall\nhall\tsmall\n")
    assert read_label_file(labels) == ("room 101", "room 7", "hall")
    labels.write_text("a 1\nb 2\n")
    with pytest.raises(ModelError, match=r"the numbers are not 0\.\.1"):
        read_label_file(labels)


def test_a_model_is_replaced_only_when_told(semantic: Path, tmp_path: Path, call: Any) -> None:
    import_model([semantic], "mine")
    before = find_package("mine").weights_sha256
    other = public(tmp_path / "other.pth", RGBNet("resnet18", 67))
    code, _, err = call("import", other, "--as", "mine")
    assert code == 1
    assert "there is a model 'mine' already; choose another name, or replace it with --force" in err
    assert find_package("mine").weights_sha256 == before
    assert call("import", other, "--as", "mine", "--force")[0] == 0
    assert len(find_package("mine").labels) == 67
    assert left_over() == []


def left_over() -> list[Path]:
    return [path for path in user_models_folder().rglob("*") if ".incoming" in path.parts and path.name != ".incoming"]


@pytest.mark.parametrize("moment", ["write_bytes", "write_text", "rename"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")], ids=type)
def test_an_import_that_is_cut_leaves_the_former_model_and_nothing_else(
    semantic: Path, monkeypatch: pytest.MonkeyPatch, moment: str, error: BaseException
) -> None:
    import_model([semantic], "mine")
    before = find_package("mine").path("weights").read_bytes()
    original = getattr(Path, moment)

    def fail(self: Path, *arguments: Any, **options: Any) -> Any:
        if ".incoming" in self.parts and self.suffix != ".former":
            raise error
        return original(self, *arguments, **options)

    monkeypatch.setattr(Path, moment, fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError
    with pytest.raises(expected) as caught:
        import_model([semantic], "other")
    if expected is OutputError:
        assert "the disk is full" in str(caught.value)
    assert user_models() == ["mine"]
    assert left_over() == []
    with pytest.raises(expected):
        import_model([semantic], "mine", overwrite=True)
    assert find_package("mine").path("weights").read_bytes() == before
    assert left_over() == []


def test_what_killed_imports_left_goes_after_a_day(semantic: Path) -> None:
    stale, fresh = (user_models_folder() / ".incoming" / name for name in ("stale", "fresh"))
    for path in (stale, fresh):
        path.mkdir(parents=True)
        (path / "model.json").write_text("{}")
    os.utime(stale, (0, 0))
    import_model([semantic], "mine")
    assert left_over() == [fresh, fresh / "model.json"]
    assert user_models() == ["mine"]
    shutil.rmtree(fresh)


def test_the_guess_of_the_label_base_is_a_value(tmp_path: Path) -> None:
    network = SemanticNet(365)
    with torch.no_grad():
        weight = network.in_block_sem[0].weight
        weight[:, 1:151] *= 3
    guess = label_base_of(import_model([public(tmp_path / "a.pth", network)], "mine", address="http://example.org/a"))
    assert guess is not None
    assert guess.base is LabelBase.ZERO
    origin = find_package("mine").manifest.origin
    assert origin is not None
    assert origin.address == "http://example.org/a"
    assert label_base_of(import_model([public(tmp_path / "b.pth", RGBNet("resnet18", 67))], "rgb")) is None
