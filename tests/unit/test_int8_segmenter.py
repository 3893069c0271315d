"""Segmenters in 8 bits: made by `export`, run with `--precision int8`, and what they change is always said."""

from __future__ import annotations

import json
import logging
import resource
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from reference_models import blobs, made, write_mobile, write_package
from torch import nn

from models import load_recognizer
from models.backends.openvino import traced
from models.compiled_segmenter import compile_segmenter
from models.engine import Engine
from models.errors import ModelError
from models.package import ModelPackage
from models.segmentation import PictureSegmenter, load_segmenter
from tools.commands import run_command_line

pytest.importorskip("nncf")

from tools.export import int8_segmenter
from tools.export.int8 import products_of_computed
from tools.export.int8_segmenter import compare

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore"),  # the quantiser's own, about its own dependencies
]

SIDE = 64  # pixels of the short side


@pytest.fixture(scope="module")
def mobile(tmp_path_factory) -> Path:
    return write_mobile(tmp_path_factory.mktemp("segmenters") / "mobile")


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> dict[str, str]:
    """Folders of scene networks, one that looks at semantics and one that does not."""
    root = tmp_path_factory.mktemp("scenes")
    return {kind: str(write_package(root / kind, kind, made(kind))) for kind in ("two", "rgb")}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(4):
        cv2.imwrite(str(folder / f"{seed}.png"), blobs(96, 128, seed))
    return folder


def exported(model: Path, output: Path, pictures: Path, *more: object) -> int:
    arguments = ["--format", "openvino", "--int8", "--calibrate", pictures, "--scales", SIDE, *more]
    return run_command_line(["export", *map(str, [model, "-o", output, *arguments])])


@pytest.fixture(scope="module")
def int8(mobile, pictures, tmp_path_factory) -> Path:
    """The folder of the segmenter in 8 bits."""
    folder = tmp_path_factory.mktemp("int8") / "mobile8"
    assert exported(mobile, folder, pictures) == 0
    return folder


def compiled(folder: Path, precision: str) -> PictureSegmenter:
    segmenter = load_segmenter(str(folder), device="cpu", short_sides=[SIDE])
    compile_segmenter(segmenter, Engine("openvino", "cpu", precision=precision))
    return segmenter


def test_what_8_bits_change_is_printed_and_kept(mobile, pictures, tmp_path, capsys):
    assert exported(mobile, tmp_path / "out", pictures, "--json") == 0
    ((body,), names) = json.loads(capsys.readouterr().out), {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.json", "weights.safetensors", "int8.xml", "int8.bin"}
    assert {Path(file).name for file in body["files"]} == names
    exact, rough = (compiled(tmp_path / "out", precision) for precision in ("f32", "int8"))
    seen = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in sorted(pictures.iterdir())]
    same, difference = np.array([compare(exact, rough, picture) for picture in seen]).T
    wanted = {"same_class": same.mean(), "worst_picture": same.min(), "difference": difference.mean()}
    assert body["int8"] == pytest.approx(wanted | {"pictures": 4, "calibrated_on": 4})
    assert 0.5 < body["int8"]["same_class"] < 1
    assert json.loads((tmp_path / "out" / "model.json").read_text())["int8"] == body["int8"]


def test_the_comparison_counts_positions():
    class Fixed:
        def __init__(self, best: list[int]) -> None:
            self.best = best

        def probabilities(self, picture, size):
            assert size == (1, 4)
            return np.eye(3, dtype=np.float32)[self.best].T[:, None]

    assert compare(Fixed([0, 1, 2, 0]), Fixed([0, 1, 2, 1]), blobs(4, 15)) == (0.75, 0.25)


def test_it_says_nearly_the_same_at_any_size_and_in_lanes(int8):
    exact, rough = compiled(int8, "f32"), compiled(int8, "int8")
    assert "FakeQuantize" in (int8 / "int8.xml").read_text()
    for shape in [(96, 130), (64, 64)]:
        one, other = exact.encode(blobs(*shape)), rough.encode(blobs(*shape))
        assert 0.6 < (one.labels[0] == other.labels[0]).mean() < 1
        again = rough.lane().encode(blobs(*shape))
        np.testing.assert_array_equal(again.labels, other.labels)


def test_a_scene_network_takes_it_and_the_log_says_how_near_it_is(int8, scene, caplog):
    caplog.set_level(logging.INFO, "models")
    settings = {"segmenter": str(int8), "backend": "openvino", "device": "cpu"}
    rough = load_recognizer(scene["two"], **settings, precision="int8")
    assert "in 8 bits; compared on 4 pictures: the same class as in float32 at" in caplog.text
    exact = load_recognizer(scene["two"], **settings, precision="f32")
    here, there = rough.predict(blobs()), exact.predict(blobs())
    assert 0.5 < (here.class_map == there.class_map).mean() < 1
    assert np.abs(here.probabilities - there.probabilities).max() < 0.2


def test_commands_take_it(int8, scene, pictures, capsys):
    arguments = ["--set", f"model.name={scene['two']}", "--set", f"model.segmenter={int8}"]
    target = str(pictures / "0.png")
    assert run_command_line(["classify", target, *arguments, "--precision", "int8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])


def test_a_model_s_own_folder_can_be_the_output(mobile, pictures, tmp_path, capsys):
    own = tmp_path / "own"
    shutil.copytree(mobile, own)
    assert exported(own, own, pictures, "--check", pictures / "0.png") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "compared on 1 picture: the same class as in float32 at" in out
    assert f"--set model.segmenter={own} --precision int8" in out
    assert ModelPackage(own).int8_graph() == own / "int8.xml"
    assert ModelPackage(own).weights_sha256 == ModelPackage(mobile).weights_sha256
    assert run_command_line(["models", "verify", str(own)]) == 0


# ------------------------------------------------------------------ what fails, and what is said then


def fails(capsys, *arguments: object, code: int = 1) -> str:
    assert run_command_line([*map(str, arguments)]) == code
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_without_the_quantiser(mobile, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nncf", None)
    assert exported(mobile, tmp_path / "out", pictures) == 1
    assert "needs the library nncf; run: pip install" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_broken_result_is_not_left(mobile, pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(int8_segmenter, "_LEAST_SAME", 1.1)
    assert exported(mobile, tmp_path / "out", pictures) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "nothing was written" in error
    assert "the same class as in float32 at" in error
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk(mobile, pictures, tmp_path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        assert exported(mobile, tmp_path / "out", pictures) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot write int8.xml: the disk is full" in " ".join(capsys.readouterr().err.split())
    assert list((tmp_path / "out").iterdir()) == []


def test_the_folder_of_another_model_is_left_alone(mobile, scene, pictures, capsys):
    before = (Path(scene["two"]) / "model.json").read_bytes()
    assert exported(mobile, scene["two"], pictures) == 1
    assert "holds another model; give a folder of its own" in " ".join(capsys.readouterr().err.split())
    assert (Path(scene["two"]) / "model.json").read_bytes() == before


def test_wrong_use(mobile, scene, pictures, tmp_path, capsys):
    int8 = ["--format", "openvino", "--int8", "--calibrate", pictures]
    rest = ["-o", tmp_path / "out"]
    assert "--batch is not for a segmenter" in fails(capsys, "export", mobile, *rest, *int8, "--batch", 2, code=2)
    assert "--scales is for a segmenter" in fails(capsys, "export", scene["two"], *rest, *int8, "--scales", 64, code=2)
    assert "--scales is for a segmenter" in fails(capsys, "export", mobile, *rest, "--scales", 64, code=2)
    assert "or this one with --int8" in fails(capsys, "export", mobile, *rest)


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_a_backend_that_runs_no_8_bits(engine, int8, scene):
    with pytest.raises(ModelError, match=f"{engine} runs no segmenter in 8 bits; use --backend openvino"):
        load_recognizer(scene["two"], segmenter=str(int8), backend=engine, device="cpu", precision="int8")


@pytest.mark.parametrize(
    ("kind", "segmenter", "message"),
    [
        ("two", "mobile", r"has no 8-bit files; make them: scene-streamer export .*mobile -o DIR"),
        ("two", "scene18", r"'scene18' has no form in 8 bits"),
        ("two", "huggingface:x", r"'huggingface:x' has no form in 8 bits"),
        ("two", "no_such", r"unknown model 'no_such'"),
        ("rgb", None, r"int8 is the segmenter's, and there is none"),
    ],
)
def test_a_segmenter_without_the_files(kind, segmenter, message, mobile, scene):
    segmenter = str(mobile) if segmenter == "mobile" else segmenter
    with pytest.raises(ModelError, match=message):
        load_recognizer(scene[kind], segmenter=segmenter, backend="openvino", device="cpu", precision="int8")


def test_a_model_that_segments_for_itself_has_no_8_bits():
    with pytest.raises(ModelError, match="'scene18' is not run in 8 bits"):
        load_recognizer("scene18", precision="int8")


@pytest.mark.parametrize("name", ["int8.xml", "int8.bin"])
def test_a_damaged_or_missing_file(name, int8, scene, tmp_path):
    def load() -> None:
        load_recognizer(scene["two"], segmenter=str(tmp_path / "copy"), device="cpu", precision="int8")

    shutil.copytree(int8, tmp_path / "copy")
    with (tmp_path / "copy" / name).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(ModelError, match=f"{name} is damaged"):
        load()
    (tmp_path / "copy" / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing"):
        load()


def test_products_with_weights_are_quantised_and_others_are_not():
    class Products(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weighted = x @ (self.weight.t() * 2)
            return weighted @ x.transpose(1, 2)

    graph = traced(Products(), (torch.zeros(1, 3, 4),))
    assert len([node for node in graph.get_ops() if node.get_type_name() == "MatMul"]) == 2
    (name,) = products_of_computed(graph)
    (product,) = [node for node in graph.get_ops() if node.get_friendly_name() == name]
    assert graph.get_results()[0].input_value(0).get_node().get_friendly_name() == product.get_friendly_name()
