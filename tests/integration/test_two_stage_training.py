"""Two-stage training as it is run: miniatures of the data sets, resuming, several processes, misuse, real pictures."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from paper_data import SCENES, MiniDataset, write_dataset, write_semantics

from models.package import find_package
from models.scene_classifier import load_scene_network
from tools.commands import run_command_line
from tools.train.two_stage.loop import StageTraining
from tools.train.two_stage.recipe import METHOD, Recipe
from tools.train.two_stage.run import run_training

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def two_threads():
    """Leave the rest of torch's tests as many threads as they had."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, before))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def mit67(tmp_path_factory) -> MiniDataset:
    data = write_dataset("mit67", tmp_path_factory.mktemp("mit67"))
    write_semantics(data)
    return data


def tiny_recipe(name: str = "mit67", **changes: Any) -> Recipe:
    stage = {"epochs": 2, "batch": 3, "optimiser": {"kind": "adamw", "lr": 1e-3}}
    stages = dict.fromkeys(("rgb", "semantic", "both"), stage)
    return Recipe(**({"method": METHOD, "name": f"tiny_{name}", "data": {"layout": name}, "stages": stages} | changes))


def stages_with(**settings: Any) -> dict[str, Any]:
    return {name: {"epochs": 1, "batch": 3, **settings} for name in ("rgb", "semantic", "both")}


def train(recipe: Recipe, data: MiniDataset, output: Path, **options: Any) -> list[str]:
    lines: list[str] = []
    run_training(recipe, data.root, output, say=lines.append, **({"workers": 0, "device": "cpu"} | options))
    return lines


def lines_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same(one: Any, other: Any) -> bool:
    """Whether two checkpoints are equal bit for bit; durations aside."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        keys = [key for key in one if not str(key).startswith("seconds")]
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in keys)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class TestMiniatures:
    @pytest.mark.parametrize("name", sorted(SCENES))
    def test_both_stages_and_the_model(self, name: str, tmp_path: Path):
        data = write_dataset(name, tmp_path / "data", train=1, val=1)
        write_semantics(data)
        recipe = tiny_recipe(name, stages=stages_with(optimiser={"kind": "dfw", "lr": 0.01}))
        output = tmp_path / "run"
        lines = train(recipe, data, output)
        assert lines[0].startswith(f"tiny_{name}: 3 pictures of 3 scenes to train on, 3 watched (val)")
        assert "rgb: starts from random weights" in lines
        package = find_package(str(output / "model"))
        assert package.manifest.kind == "scene"
        assert package.labels == data.scenes
        assert package.crop.short_side == data.layout.short_side
        model, best = load_scene_network(output / "model"), load_scene_network(output / "both" / "best.pth.tar")
        assert all(torch.equal(t, model.module.state_dict()[n]) for n, t in best.module.state_dict().items())
        for stage in ("rgb", "semantic", "both"):
            (figures,) = lines_of(output / stage)
            assert 0 <= figures["gamma"] <= 1
            assert list((output / stage / "tensorboard").iterdir())

    def test_semantic_branch_learns(self, mit67: MiniDataset, tmp_path: Path):
        recipe = tiny_recipe(stages=stages_with(epochs=8, optimiser={"kind": "adamw", "lr": 1e-3}))
        train(recipe, mit67, tmp_path, stage="semantic")
        figures = lines_of(tmp_path / "semantic")
        assert max(line["top1"] for line in figures) == 100
        assert figures[-1]["loss"] < figures[0]["loss"]


class TestResume:
    @pytest.mark.parametrize("kind", ["dfw", "adamw"])
    def test_equals_an_unbroken_run(self, kind: str, mit67: MiniDataset, tmp_path: Path, capfd):
        settings = {"epochs": 3, "optimiser": {"kind": kind, "lr": 1e-2, "schedule": "cosine", "warmup": 0.2}}
        recipe = tiny_recipe(stages=stages_with(**settings))
        cache = tmp_path / "cache"
        train(recipe, mit67, tmp_path / "whole", stage="semantic", cache=cache)

        def interrupt(line: str) -> None:
            if line.startswith("semantic 2/3"):
                raise KeyboardInterrupt

        options = {"stage": "semantic", "workers": 0, "device": "cpu", "cache": cache}
        with pytest.raises(KeyboardInterrupt):
            run_training(recipe, mit67.root, tmp_path / "broken", say=interrupt, **options)
        assert len(lines_of(tmp_path / "broken" / "semantic")) == 2
        lines = train(recipe, mit67, tmp_path / "broken", stage="semantic", cache=cache, resume=True, workers=1)
        assert "semantic: going on after epoch 2" in lines
        for name in ("last.pth.tar", "best.pth.tar"):
            one, other = (
                torch.load(tmp_path / run / "semantic" / name, weights_only=True) for run in ("whole", "broken")
            )
            assert same(one, other), name
        assert len(lines_of(tmp_path / "broken" / "semantic")) == 3

    def test_finished_stages_are_left_alone(self, mit67: MiniDataset, tmp_path: Path):
        recipe = tiny_recipe(stages=stages_with())
        train(recipe, mit67, tmp_path, stage="semantic")
        before = (tmp_path / "semantic" / "last.pth.tar").read_bytes()
        train(recipe, mit67, tmp_path, stage="semantic", resume=True)
        assert (tmp_path / "semantic" / "last.pth.tar").read_bytes() == before

    def test_early_stop(self, mit67: MiniDataset, tmp_path: Path):
        recipe = tiny_recipe(stages=stages_with(epochs=9, patience=2, optimiser={"kind": "sgd", "lr": 1e-9}))
        lines = train(recipe, mit67, tmp_path, stage="semantic")
        assert len(lines_of(tmp_path / "semantic")) == 3
        assert any("stopped early, no better for 2 epochs" in line for line in lines)
        train(recipe, mit67, tmp_path, stage="semantic", resume=True)
        assert len(lines_of(tmp_path / "semantic")) == 3


class TestPrecision:
    def test_bfloat16(self, mit67: MiniDataset, tmp_path: Path):
        train(tiny_recipe(stages=stages_with(precision="bfloat16")), mit67, tmp_path, stage="semantic")
        state = torch.load(tmp_path / "semantic" / "best.pth.tar", weights_only=True)["state_dict"]
        assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}


WORKER = """
import sys
from pathlib import Path
import torch
from tools.train.two_stage import loop
from tools.train.two_stage.recipe import Recipe
from tools.train.two_stage.run import run_training

torch.set_num_threads(1)
# Batch norms of a slice differ from those of the batch, and masks of dropout are each process's own: without both.
loop.set_training_mode = lambda network, stage: network.eval()
recipe = Recipe.model_validate_json(sys.argv[1])
run_training(recipe, Path(sys.argv[2]), Path(sys.argv[3]), stage="semantic", device="cpu", workers=0)
"""


class TestProcesses:
    def test_two_take_the_steps_of_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        data = write_dataset("mit67", tmp_path / "data", train=3, val=1)
        write_semantics(data)
        settings = {"epochs": 2, "batch": 4, "optimiser": {"kind": "dfw", "lr": 0.05}}
        recipe = tiny_recipe(stages=stages_with(**settings))
        (tmp_path / "worker.py").write_text(WORKER)
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        arguments = [str(tmp_path / "worker.py"), recipe.model_dump_json(), str(data.root), str(tmp_path / "two")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        found = subprocess.run(
            [*torchrun, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150, check=False
        )
        assert found.returncode == 0, found.stderr[-3000:]
        assert "2 x cpu" in found.stdout
        assert found.stdout.count("semantic 2/2") == 1

        monkeypatch.setattr("tools.train.two_stage.loop.set_training_mode", lambda network, stage: network.eval())
        train(recipe, data, tmp_path / "one", stage="semantic")
        one, two = (
            torch.load(tmp_path / run / "semantic" / "last.pth.tar", weights_only=True) for run in ("one", "two")
        )
        for name, tensor in one["state_dict"].items():
            assert torch.allclose(tensor, two["state_dict"][name], atol=1e-5), name
        for ours, theirs in zip(lines_of(tmp_path / "one/semantic"), lines_of(tmp_path / "two/semantic"), strict=True):
            for key in ("loss", "gamma", "top1", "watched_loss"):
                assert ours[key] == pytest.approx(theirs[key], rel=1e-4), key


class TestMisuse:
    def fails(self, capsys, *arguments: object, code: int = 1) -> str:
        capsys.readouterr()
        assert run_command_line(["train", *map(str, arguments)]) == code
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert "internal error" not in error
        return " ".join(error.split())

    def test_wrong_root(self, tmp_path: Path, capsys):
        error = self.fails(capsys, "-r", "mit67", "--root", tmp_path, "-o", tmp_path / "run")
        assert "train.txt is missing; expected in" in error
        assert "scene_names.txt" in error

    def test_unknown_recipe_and_keys(self, tmp_path: Path, capsys):
        rest = ("--root", tmp_path, "-o", tmp_path / "run")
        assert "packaged ones: ade20k" in self.fails(capsys, "-r", "mit76", *rest, code=2)
        error = self.fails(capsys, "-r", "mit67", *rest, "--set", "stages.rgb.epoch=3", code=2)
        assert "unknown key 'stages.rgb.epoch': did you mean 'stages.rgb.epochs'?" in error
        assert "do not apply" in self.fails(capsys, "-r", "scene18", *rest, "--stage", "rgb", code=2)
        (tmp_path / "other.yaml").write_text("method: three_stage\n")
        assert "unknown method" in self.fails(capsys, "-r", tmp_path / "other.yaml", *rest, code=2)

    def test_missing_semantics(self, tmp_path: Path, capsys):
        data = write_dataset("mit67", tmp_path / "data")
        rest = ("--root", data.root, "-o", tmp_path / "run", "--stage", "semantic", "--device", "cpu")
        error = self.fails(capsys, "-r", "mit67", *rest)
        assert "6 of 6 have none" in error
        assert "noisy_annotations_RGB" in error
        assert "scene-streamer precompute" in error

    def test_run_that_is_there_already(self, mit67: MiniDataset, tmp_path: Path, capsys):
        (tmp_path / "rgb").mkdir()
        (tmp_path / "rgb" / "last.pth.tar").write_bytes(b"damaged")
        rest = ("-r", "mit67", "--root", mit67.root, "-o", tmp_path, "--device", "cpu")
        assert "holds a run already (rgb): go on with --resume" in self.fails(capsys, *rest)
        assert "last.pth.tar cannot be read" in self.fails(capsys, *rest, "--resume")

    def test_damaged_semantics_and_pictures(self, tmp_path: Path, capsys):
        data = write_dataset("mit67", tmp_path / "data")
        files = write_semantics(data)
        rest = ("--root", data.root, "-o", tmp_path / "run", "--device", "cpu", "--workers", 0)
        label = next((files.folder / "noisy_annotations_RGB").rglob("*.png"))
        label.write_bytes(b"no PNG")
        assert "is damaged" in self.fails(capsys, "-r", "mit67", *rest, "--stage", "semantic")
        picture = next((data.root / "train").rglob("*.jpg"))
        picture.write_bytes(b"no JPEG")
        assert "not a picture that can be read" in self.fails(capsys, "-r", "mit67", *rest, "--stage", "rgb")

    def test_float16_on_a_cpu_and_a_loss_that_explodes(self, mit67: MiniDataset, tmp_path: Path, capsys):
        rest = ("-r", "mit67", "--root", mit67.root, "--device", "cpu", "--workers", 0, "--stage", "semantic")
        error = self.fails(capsys, *rest, "-o", tmp_path / "a", "--set", "defaults.precision=float16")
        assert "float16 needs CUDA" in error
        rate = "defaults.optimiser={kind: sgd, lr: 1e30}"
        error = self.fails(capsys, *rest, "-o", tmp_path / "b", "--set", rate, "--set", "defaults.batch=3")
        assert "lower stages.semantic.optimiser.lr" in error

    def test_interrupt_leaves_a_checkpoint(
        self, mit67: MiniDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
    ):
        step = StageTraining._step

        def interrupted(self: StageTraining, batch: Any) -> float:
            if self.progress.epoch == 1:
                raise KeyboardInterrupt
            return step(self, batch)

        monkeypatch.setattr(StageTraining, "_step", interrupted)
        rest = ("-r", "mit67", "--root", mit67.root, "-o", tmp_path, "--device", "cpu", "--stage", "semantic")
        assert "go on after the last whole epoch with --resume" in self.fails(capsys, *rest, "--workers", 0, code=130)
        assert torch.load(tmp_path / "semantic" / "last.pth.tar", weights_only=True)["epoch"] == 1


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared pictures are not here")
class TestRealPictures:
    SHOWN = ("forest", "kitchen", "coast", "bedroom")

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        """A table of 32 pictures in which `val` is `train`, and semantics by the packaged segmenter."""
        from models.encoding import LabelBase
        from models.segmentation import load_segmenter
        from tools.data.manifest import PictureManifest
        from tools.data.semantics import SemanticFiles

        by_scene: dict[str, list[dict[str, str]]] = defaultdict(list)
        with (SHARED / "scenes.csv").open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                by_scene[row["scene"]].append(row)
        chosen = [row for scene in self.SHOWN for row in by_scene[scene][:: len(by_scene[scene]) // 8][:8]]
        table = tmp_path / "table.csv"
        with table.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["path", "scene", "split"])
            writer.writerows([row["path"], row["scene"], split] for split in ("train", "val") for row in chosen)
        segmenter = load_segmenter("scene18", device="cpu")
        manifest = PictureManifest.read(table, SHARED, "train")
        files = SemanticFiles(tmp_path)
        for index, entry in enumerate(manifest.entries):
            files.write(entry, segmenter.encode(manifest[index], LabelBase.ZERO), LabelBase.ZERO)
        return table

    def test_tiny_run_overfits_32_pictures(self, data: Path, tmp_path: Path):
        still = {"mirror": 0, "blur": 0, "contrast": (1, 1), "noise": 0, "brightness": (1, 1), "drop": (0, 0)}
        optimiser = {"kind": "adamw", "lr": 1e-3, "weight_decay": 0, "schedule": "cosine"}
        stages = stages_with(epochs=9, batch=8, optimiser=optimiser)
        recipe = tiny_recipe(data={"manifest": str(data)}, augmentation=still, stages=stages)
        run_training(recipe, SHARED, tmp_path / "run", stage="semantic", semantics=tmp_path, device="cpu", workers=0)
        assert torch.load(tmp_path / "run/semantic/best.pth.tar", weights_only=True)["best_prec1"] == 100
