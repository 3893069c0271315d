"""`scene-streamer export`: files that say what torch says, or none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from reference_models import blobs, filled, made, write_package, write_segmenter
from test_scene_network import LABELS, small_manifest
from typer.testing import CliRunner

from models.errors import ModelError
from models.layers.semantic_stem import SemanticConv, Top3
from models.package import ModelFile, ModelPackage
from models.scene_network import build_scene_network
from models.segmenters import build_csail
from tools.commands import _app, run_command_line

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from tools.export import save_weights, writing
from tools.export.stems import DenseStem, LookUpStem
from tools.export.writing import export_model

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporters' own, about their own dependencies

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def joint(tmp_path_factory) -> Path:
    """The folder of a small joint model."""
    folder = tmp_path_factory.mktemp("models") / "small"
    folder.mkdir()
    torch.manual_seed(3)
    save_weights(build_scene_network(small_manifest()), folder / "weights.safetensors")
    preprocess = {"width": 64, "height": 64, "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2]}
    files = {"weights": ModelFile.of(folder / "weights.safetensors").model_dump()}
    parts = {"name": "small", "version": 1, "preprocess": preprocess, "files": files}
    (folder / "model.json").write_text(json.dumps(small_manifest() | parts))
    return folder


@pytest.fixture(scope="module", params=["two", "rgb", "semantic"])
def scene(request, tmp_path_factory) -> ModelPackage:
    folder = tmp_path_factory.mktemp("models") / request.param
    return ModelPackage(write_package(folder, request.param, made(request.param)))


def exported(*arguments: object) -> int:
    return run_command_line(["export", *map(str, arguments)])


def test_stems_of_graphs_say_what_the_network_s_own_says():
    conv = filled(SemanticConv(11, 4))
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 11, (2, 3, 12, 16)).astype(np.uint8))  # often twice at a pixel
    scores = torch.from_numpy(rng.random((2, 3, 12, 16), dtype=np.float32))
    with torch.no_grad():
        wanted = conv(Top3(labels, scores))
        for kind in (LookUpStem, DenseStem):
            assert torch.allclose(kind(conv)(labels, scores), wanted, atol=1e-5)


def test_a_joint_model_takes_plain_pictures_in_any_number(joint, tmp_path):
    import onnx

    assert exported(joint, "-o", tmp_path / "out") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"small.onnx", "small.xml", "small.bin", "labels.txt", "small.json"}
    assert (tmp_path / "out" / "labels.txt").read_text().split() == LABELS
    graph = onnx.load(tmp_path / "out" / "small.onnx", load_external_data=False)
    assert not [t for t in graph.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    (picture,) = graph.graph.input
    shape = [d.dim_param or d.dim_value for d in picture.type.tensor_type.shape.dim]
    assert (picture.name, picture.type.tensor_type.elem_type) == ("picture", onnx.TensorProto.UINT8)
    assert shape == ["batch", 64, 64, 3]
    facts = json.loads((tmp_path / "out" / "small.json").read_text())
    assert facts["inputs"] == {"picture": ["batch", 64, 64, 3, "uint8"]}
    assert facts["outputs"][0] == "probabilities"


def test_a_fixed_number_of_pictures(joint, tmp_path):
    assert exported(joint, "-o", tmp_path, "--format", "openvino", "--batch", 2) == 0
    from models.openvino_library import ov

    assert list(ov.Core().read_model(tmp_path / "small.xml").inputs[0].shape) == [2, 64, 64, 3]


@pytest.mark.parametrize("batch", [None, 1])
def test_networks_of_the_reference_with_the_stem_that_fits(batch, scene, tmp_path):
    forms = ["onnx", "openvino"] if batch is None else ["openvino"]
    done = export_model(scene, tmp_path, forms, [blobs(seed=seed) for seed in range(2)], batch=batch)
    assert all(difference <= 1e-3 for one in done for difference in one.difference.values())
    words = () if scene.manifest.name == "rgb" else ("dense",) if batch is None else ("by look-up (",)
    for one in done:
        assert all(word in note for word, note in zip(words, one.notes, strict=True))


def test_a_file_that_disagrees_is_not_left(joint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(writing, "_TOLERANCE", -1.0)
    assert exported(joint, "-o", tmp_path / "out", "--format", "openvino") == 1
    assert "nothing was written" in " ".join(capsys.readouterr().err.split())
    assert list((tmp_path / "out").iterdir()) == []


def test_eight_bits(joint, tmp_path, monkeypatch):
    pytest.importorskip("nncf")
    monkeypatch.setattr(writing, "_INT8_SAME", 0.0)  # a network with random weights has no scene that it is sure of
    (tmp_path / "pictures").mkdir()
    for seed in range(4):
        cv2.imwrite(str(tmp_path / "pictures" / f"{seed}.png"), blobs(80, 90, seed))
    arguments = ["--format", "openvino", "--int8", "--calibrate", tmp_path / "pictures"]
    assert exported(joint, "-o", tmp_path / "out", *arguments) == 0
    assert "FakeQuantize" in (tmp_path / "out" / "small.xml").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--batch", "0"], 2, "--batch is dynamic"),
        (["--int8"], 2, "--int8 and --calibrate go together"),
        (["--int8", "--calibrate", "x"], 2, "--format openvino"),
        (["--int8", "--calibrate", "no_such", "--format", "openvino"], 1, "no pictures at no_such"),
        (["--check", "no_such*.jpg"], 1, "no pictures at no_such"),
    ],
)
def test_wrong_use_is_one_clear_line(arguments, code, message, joint, tmp_path, capsys):
    assert exported(joint, "-o", tmp_path / "out", *arguments) == code
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(joint, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert exported(joint, "-o", tmp_path / "file" / "out", "--format", "openvino") == 1
    assert "not a folder" in " ".join(capsys.readouterr().err.split())


def test_a_segmenter_alone_is_refused(tmp_path):
    folder = write_segmenter(tmp_path / "mobile", "c1_mobilenetv2", filled(build_csail("c1_mobilenetv2")))
    with pytest.raises(ModelError, match="export a model that names scenes"):
        export_model(ModelPackage(folder), tmp_path / "out", ["onnx"], [blobs()])


def test_the_page_s_example_names_the_scene_without_us(joint, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert not re.search(r"\b(streamer|models|tools|config)\b", example)
    assert exported(joint, "-o", tmp_path / "scene18", "--format", "onnx") == 0
    (tmp_path / "scene18" / "small.onnx").rename(tmp_path / "scene18" / "scene18.onnx")
    cv2.imwrite(str(tmp_path / "kitchen.jpg"), blobs())
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(example.replace("288", "64"), str(PAGE), "exec"), {})
    assert any(label in capsys.readouterr().out for label in LABELS)


def test_the_command_is_listed():
    assert "export" in CliRunner().invoke(_app(), ["--help"]).output
