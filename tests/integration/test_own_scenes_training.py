"""Own scenes as a user trains them: pictures in folders, one command, a model that every other command takes."""

from __future__ import annotations

import copy
import csv
import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models import load_recognizer
from models.package import ModelPackage, find_package
from models.scene_network import SceneNetwork
from streamer.errors import UserError
from tools.commands import run_command_line
from tools.data.manifest import ManifestError
from tools.train.own import classifier, features, run
from tools.train.own.classifier import ClassifierTraining, Settings
from tools.train.own.pictures import read_folder, read_table
from tools.train.own.run import train_own_scenes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

QUICK = Settings(epochs=1, views=1, seed=3)
# What a scene looks like: its colour, and stripes across, along, in squares, or none.
LOOKS = {
    "corridor": ((200, 60, 60), (1, 0)),
    "garden": ((50, 170, 60), (0, 1)),
    "lab": ((70, 90, 200), (1, 1)),
    "roof": ((200, 190, 60), (0, 0)),
    "stairs": ((120, 120, 120), (2, 0)),
}


def draw(scene: str, rng: np.random.Generator) -> np.ndarray:
    """A noisy picture of a scene, (90, 120, 3) uint8 RGB."""
    colour, (across, along) = LOOKS[scene]
    y, x = np.mgrid[0:90, 0:120]
    phase = rng.uniform(0, 6)
    wave = np.sin(across * y / 4 + along * x / 4 + phase) if across or along else np.zeros((90, 120))
    light = rng.uniform(0.8, 1.2)
    rgb = np.array(colour) * light + 50 * wave[..., None] + rng.normal(0, 12, (90, 120, 3))
    return np.clip(rgb, 0, 255).astype(np.uint8)


def write_pictures(folder: Path, each: int, seed: int, suffixes: tuple[str, ...] = (".jpg",)) -> Path:
    rng = np.random.default_rng(seed)
    for scene in LOOKS:
        (folder / scene).mkdir(parents=True)
        for i in range(each):
            bgr = cv2.cvtColor(draw(scene, rng), cv2.COLOR_RGB2BGR)
            assert cv2.imwrite(str(folder / scene / f"{i}{suffixes[i % len(suffixes)]}"), bgr)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures") / "mine", 10, 0, (".jpg", ".png", ".webp"))


@pytest.fixture(scope="module")
def small_start(tmp_path_factory: pytest.TempPathFactory) -> str:
    """scene18 on pictures of 64x64, without a graph: the folder of a model, and quick."""
    folder = tmp_path_factory.mktemp("start")
    package = find_package("scene18")
    shutil.copy(package.path("weights"), folder)
    values = json.loads((package.folder / "model.json").read_text(encoding="utf-8"))
    values["preprocess"] |= {"width": 64, "height": 64}
    del values["files"]["graph"]
    (folder / "model.json").write_text(json.dumps(values), encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of `scene-streamer train --pictures`, from the packaged model."""
    output = tmp_path_factory.mktemp("run") / "my_house"
    options = ("--epochs", "1", "--views", "1")
    assert run_command_line(["train", "--pictures", str(pictures), "--output", str(output), *options]) == 0
    return output


@pytest.mark.timeout(600)  # the first of them waits for a whole training
class TestTrained:
    def test_model_names_the_scenes_on_both_backends(self, trained: Path):
        ours = load_recognizer(str(trained / "model"), backend="openvino", threads=1)
        theirs = load_recognizer(str(trained / "model"), backend="torch", device="cpu", threads=1)
        assert ours.labels == tuple(LOOKS)
        rng = np.random.default_rng(99)
        shown = [scene for scene in LOOKS for _ in range(3)]
        new = [draw(scene, rng) for scene in shown]
        said = ours.predict_batch(new)
        assert np.mean([p.scene == scene for p, scene in zip(said, shown, strict=True)]) >= 0.9
        for one, other in zip(said, theirs.predict_batch(new), strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-3)

    def test_segmentation_is_that_of_the_start(self, trained: Path):
        start, model = find_package("scene18"), find_package(str(trained / "model"))
        old, new = load_file(start.path("weights")), load_file(model.path("weights"))
        assert old.keys() == new.keys()
        assert all(torch.equal(t, new[name]) for name, t in old.items() if name.startswith("segmenter."))
        assert model.manifest.semantic_classes == start.manifest.semantic_classes
        assert model.manifest.groups == {}

    def test_report(self, trained: Path):
        report = json.loads((trained / "report.json").read_text(encoding="utf-8"))
        figures, calibration = report["figures"], find_package(str(trained / "model")).manifest.calibration
        assert (report["model"], report["start"], report["measured_on"]) == ("my_house", "scene18", "dev")
        assert figures["count"] == 10
        assert figures["top1"] >= 0.9
        assert figures["classes"]["lab"]["learnt"] == 8
        assert report["calibration"]["temperature"] == calibration.temperature
        assert report["calibration"]["unknown_threshold"] == calibration.unknown_threshold <= 0.9
        assert any("few pictures (corridor 10, garden 10" in note for note in report["notes"])
        assert any("these pictures also chose the epoch" in note for note in report["notes"])

    def test_only_the_model_and_the_report_are_left(self, trained: Path):
        assert sorted(path.name for path in trained.iterdir()) == ["model", "report.json"]
        assert sorted(p.name for p in (trained / "model").iterdir()) == [
            "graph.onnx",
            "model.json",
            "weights.safetensors",
        ]

    def test_classify_and_evaluate_take_it(self, trained: Path, pictures: Path, tmp_path: Path, capsys):
        model = str(trained / "model")
        assert (
            run_command_line(["classify", str(pictures / "garden" / "0.jpg"), "--set", f"model={model}", "--json"]) == 0
        )
        assert json.loads(capsys.readouterr().out)["top"][0][0] == "garden"
        with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(["path", "scene"])
            table.writerows([f"{scene}/{i}.jpg", scene] for scene in LOOKS for i in (0, 3))
        options = ("--manifest", str(tmp_path / "t.csv"), "--root", str(pictures), "--model", model, "--json")
        assert run_command_line(["evaluate", *options]) == 0
        assert json.loads(capsys.readouterr().out)["top1"] >= 0.9

    def test_again_needs_force(self, trained: Path, pictures: Path, capsys):
        assert run_command_line(["train", "--pictures", str(pictures), "--output", str(trained)]) == 1
        assert "replace it with --force" in capsys.readouterr().err


class RunsInTorch:
    """Stands in for `FrozenModule`: compiling would take most of these tests' time."""

    def __init__(self, module: torch.nn.Module, _example: torch.Tensor) -> None:
        self.module = copy.deepcopy(module).eval()

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.module(x))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch):
    """Neither compile nor export, and learn little: `trained` went through all of it."""

    def empty_graph(network: SceneNetwork, start: ModelPackage, folder: Path, pictures: np.ndarray) -> None:
        (folder / "graph.onnx").touch()

    monkeypatch.setattr(features, "FrozenModule", RunsInTorch)
    monkeypatch.setattr(classifier, "_EPOCH", 64)
    monkeypatch.setattr(run, "write_graph", empty_graph)


def train(pictures: Path, output: Path, start: str, **options) -> dict:
    return train_own_scenes(read_folder(pictures), output, **({"start": start, "settings": QUICK} | options))


def sha256(output: Path) -> str:
    return hashlib.sha256((output / "model" / "weights.safetensors").read_bytes()).hexdigest()


@pytest.mark.usefixtures("quick")
class TestFromAFolder:
    def test_same_seed_same_weights(self, pictures: Path, small_start: str, tmp_path: Path):
        train(pictures, tmp_path / "one", small_start)
        train(pictures, tmp_path / "two", small_start)
        assert sha256(tmp_path / "one") == sha256(tmp_path / "two")
        train(pictures, tmp_path / "one", small_start, force=True, settings=Settings(epochs=1, views=1, seed=4))
        assert sha256(tmp_path / "one") != sha256(tmp_path / "two")

    def test_a_trained_model_is_a_start_too(self, trained: Path, pictures: Path, tmp_path: Path):
        two = tmp_path / "two"
        for scene in ("lab", "roof"):
            shutil.copytree(pictures / scene, two / scene)
        report = train(two, tmp_path / "out", str(trained / "model"), name="pair")
        package = find_package(str(tmp_path / "out" / "model"))
        assert (package.manifest.name, package.labels) == ("pair", ("lab", "roof"))
        assert report["training"]["dev"] == 4

    def test_broken_pictures_are_named_and_counted(self, pictures: Path, small_start: str, tmp_path: Path, caplog):
        mine = shutil.copytree(pictures, tmp_path / "mine")
        whole = (mine / "lab" / "0.jpg").read_bytes()
        (mine / "lab" / "0.jpg").write_bytes(whole[: len(whole) // 2])
        (mine / "roof" / "new.png").write_bytes(b"no picture")
        report = train(mine, tmp_path / "out", small_start)
        assert [row["path"] for row in report["skipped"]] == ["lab/0.jpg", "roof/new.png"]
        assert any("cannot be read: 2" in note for note in report["notes"])
        assert "new.png" in caplog.text
        assert report["figures"]["classes"]["roof"]["count"] == 2

    def test_a_scene_with_too_few_readable_pictures(self, pictures: Path, small_start: str, tmp_path: Path):
        mine = shutil.copytree(pictures, tmp_path / "mine")
        for path in sorted((mine / "stairs").iterdir())[:3]:
            path.write_bytes(b"")
        with pytest.raises(ManifestError, match="'stairs' has 7 pictures"):
            train(mine, tmp_path / "out", small_start)
        assert not (tmp_path / "out").exists()

    def test_interrupt_leaves_the_former_model(
        self, pictures: Path, small_start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        output = tmp_path / "out"
        train(pictures, output, small_start)
        before = sha256(output)

        def interrupted(self: ClassifierTraining, epoch: int) -> float:
            raise KeyboardInterrupt

        monkeypatch.setattr(ClassifierTraining, "_run_epoch", interrupted)
        arguments = ("train", "--pictures", str(pictures), "--start", small_start, "--views", "0")
        assert run_command_line([*arguments, "--output", str(output), "--force"]) == 130
        assert sha256(output) == before
        assert sorted(path.name for path in output.iterdir()) == ["model", "report.json"]
        assert run_command_line([*arguments, "--output", str(tmp_path / "new")]) == 130
        assert not (tmp_path / "new").exists()

    def test_terminated_is_interrupted(
        self, pictures: Path, small_start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(
            ClassifierTraining, "_run_epoch", lambda self, epoch: os.kill(os.getpid(), signal.SIGTERM) or 0.0
        )
        arguments = ("train", "--pictures", str(pictures), "--start", small_start, "--views", "0")
        assert run_command_line([*arguments, "--output", str(tmp_path / "out")]) == 130
        assert not (tmp_path / "out").exists()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def test_names_that_no_model_can_have(self, pictures: Path, small_start: str, tmp_path: Path):
        with pytest.raises(UserError, match="is the name of a packaged model"):
            train(pictures, tmp_path / "scene18", small_start)
        with pytest.raises(UserError, match="cannot be called"):
            train(pictures, tmp_path / "out", small_start, name="a\nb")


@pytest.mark.usefixtures("quick")
class TestFromATable:
    def table(self, pictures: Path, file: Path, *more: tuple[str, str, str]) -> Path:
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["path", "scene", "split"])
            for path in sorted(pictures.rglob("*.*")):
                writer.writerow([path.relative_to(pictures), path.parent.name, "val" if path.stem == "9" else "train"])
            writer.writerows(more)
        return file

    def test_val_gives_the_figures(self, pictures: Path, small_start: str, tmp_path: Path):
        file = self.table(pictures, tmp_path / "t.csv", ("lab/gone.jpg", "lab", "val"))
        report = train_own_scenes(
            read_table(file, pictures), tmp_path / "out", start=small_start, settings=Settings(epochs=3, views=1)
        )
        assert report["measured_on"] == "val"
        assert report["figures"]["count"] == 5
        assert (report["training"]["train"], report["training"]["dev"]) == (35, 10)
        assert [row["path"] for row in report["skipped"]] == ["lab/gone.jpg"]
        assert not any("flatter" in note for note in report["notes"])

    def test_wrong_root(self, pictures: Path, small_start: str, tmp_path: Path):
        file = self.table(pictures, tmp_path / "t.csv")
        with pytest.raises(ManifestError, match="is --root right"):
            train_own_scenes(read_table(file), tmp_path / "out", start=small_start)
