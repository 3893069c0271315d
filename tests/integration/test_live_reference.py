"""A checkpoint in the public form is imported and runs live with a segmenter, by commands alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference_models import blobs, filled, made

from models.classifiers.two_branch import RGBNet
from models.package import user_models_folder
from models.segmenters import build_csail
from streamer.sources.images import read_picture
from tools.commands import run_command_line

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT.parent / "shared" / "data" / "videos" / "udacity_solidWhiteRight.mp4"
needs_clip = pytest.mark.skipif(not CLIP.is_file(), reason="needs the clips of ../shared/data/videos")
LABELS = "\n".join(f"/s/scene_{i} {i}" for i in range(6))  # as the list of Places365 is written


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of our own with two imported scene networks and a segmenter."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCENE_STREAMER_CACHE", str(folder))
        (folder / "labels.txt").write_text(LABELS)
        for name, network in (("two", made("two")), ("pictures", filled(RGBNet("resnet18", 6)))):
            state = {f"module.{key}": value for key, value in network.state_dict().items()}
            file = folder / f"{name}.pth.tar"
            torch.save({"state_dict": state, "epoch": 40, "best_prec1": 62.5}, file)
            arguments = ["models", "import", str(file), "--as", name, "--labels", str(folder / "labels.txt")]
            assert run_command_line(arguments) == 0
        segmenter = build_csail("c1_mobilenetv2")
        files = [folder / "encoder.pth", folder / "decoder.pth"]
        for file, part in zip(files, (segmenter.encoder, segmenter.decoder), strict=True):
            torch.save(part.state_dict(), file)
        assert run_command_line(["models", "import", *map(str, files), "--as", "mobile"]) == 0
        assert {path.name for path in user_models_folder().iterdir()} >= {"two", "pictures", "mobile"}
        yield folder


def annotated(folder: Path, *settings: str) -> list[dict]:
    """The label bodies of the clip's first frames."""
    options = [part for setting in (*settings, "capture.max_frames=2") for part in ("--set", setting)]
    assert run_command_line(["annotate", str(CLIP), "-o", str(folder), *options]) == 0
    (labels,) = folder.glob("*.labels.jsonl")
    return [json.loads(line) for line in labels.read_text().splitlines()]


@needs_clip
def test_it_runs_live_with_the_packaged_segmenter(cache):
    arguments = ["run", "--source", CLIP, "--set", "model=two", "--set", "model.segmenter=scene18"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", *map(str, arguments), "--max-frames", "5", "--labels", "tcp://127.0.0.1:*"],
        cwd=ROOT,
        env=os.environ | {"SCENE_STREAMER_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r": 5 frames", done.stderr)
    assert "scene_" in done.stdout


@needs_clip
@pytest.mark.parametrize(
    ("settings", "segmenter"),
    [
        (("model=two", "model.segmenter=mobile", "model.semantics.short_sides=[96]"), "mobile"),
        (("model=pictures",), None),
    ],
)
def test_labels_name_the_segmenter(settings, segmenter, tmp_path):
    labels = annotated(tmp_path, *settings, "overlay.heat_map=activation", "model.backend=torch")
    assert len(labels) == 2
    for label in labels:
        assert label["model"].get("segmenter") == segmenter
        assert ("semantic" in label) is (segmenter is not None)
        assert label["raw"][0][0].startswith("scene_")


def test_a_network_without_its_segmenter_says_what_to_give(capsys):
    assert run_command_line(["run", "--source", "synthetic:?frames=3", "--set", "model=two", "--labels", "off"]) == 1
    assert "--set model.segmenter=" in capsys.readouterr().err


def test_classify_explains(tmp_path, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / "shot.png"), cv2.cvtColor(blobs(), cv2.COLOR_RGB2BGR))
    options = ["--set", "model=two", "--set", "model.segmenter=scene18", "--backend", "torch", "--explain", "--json"]
    maps = tmp_path / "maps"
    arguments = [*options, "--explain-dir", str(maps), "--explain-scene", "scene_3"]
    assert run_command_line(["classify", str(tmp_path / "shot.png"), *arguments]) == 0
    explanation = json.loads(capsys.readouterr().out)["explanation"]
    assert explanation["scene"] == "scene_3"
    assert len(explanation["classes"]) > 0
    assert len(explanation["activation_rgb"]) == 7
    names = ["activation", "activation_rgb", "activation_semantic", "gate"]
    assert [Path(file).name for file in explanation["files"]] == [f"shot.{name}.png" for name in names]
    assert read_picture(maps / "shot.gate.png").shape == blobs().shape


@pytest.mark.parametrize(
    ("options", "code", "hint"),
    [
        (["--explain-dir", "maps"], 2, "need --explain"),
        (["--explain", "--explain-scene", "beach"], 1, "knows no scene 'beach'"),
    ],
)
def test_misused_options_are_named(options, code, hint, tmp_path, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / "shot.png"), blobs())
    assert run_command_line(["classify", str(tmp_path / "shot.png"), *options]) == code
    assert hint in capsys.readouterr().err


@needs_clip
def test_benchmark_times_the_stages(capsys):
    options = ["--set", "model=two", "--set", "model.segmenter=scene18", "--set", "capture.max_frames=12"]
    arguments = ["benchmark", "--source", str(CLIP), "--frames", "12", "--repeats", "1", "--backend", "torch", "--json"]
    assert run_command_line([*arguments, *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"decode", "segment and encode", "classify", "annotate"} <= report["stages"].keys()
    assert report["run"]["frames"] == 12
