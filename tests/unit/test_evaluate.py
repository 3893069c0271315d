"""The manifest of pictures and the `evaluate` command, with a recognizer that knows one colour per scene."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import models
from config.errors import UserError
from models.prediction import Prediction
from tools.commands.evaluate import evaluate
from tools.corruptions import CORRUPTIONS
from tools.data.manifest import ManifestError, PictureManifest
from tools.intervals import mca_interval, mean_interval
from tools.picture_choice import evenly_spread, leave_out

LABELS = ("forest", "kitchen", "street")
COLOURS = {"forest": (0, 200, 0), "kitchen": (200, 0, 0), "street": (0, 0, 200)}  # RGB


class ColourRecognizer:
    """Probability of a scene by how much of its colour a picture has."""

    labels = LABELS
    package = SimpleNamespace(manifest=SimpleNamespace(calibration=SimpleNamespace(unknown_threshold=0.5)))

    def predict_batch(self, pictures: list[np.ndarray]) -> list[Prediction]:
        means = [picture.reshape(-1, 3).mean(axis=0)[[1, 0, 2]] + 1 for picture in pictures]
        return [Prediction((m / m.sum()).astype(np.float32), LABELS) for m in means]


def write_picture(path: Path, scene: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.full((20, 30, 3), COLOURS[scene], np.uint8)
    assert cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Ten pictures in two splits and two sources; one street is called a kitchen."""
    lines = ["path,scene,split,source"]
    for i in range(10):
        shown = LABELS[i % 3]
        scene = "kitchen" if i == 5 else shown
        path = f"pictures/ü {i}.png"
        write_picture(tmp_path / path, shown)
        lines.append(f"{path},{scene},{'val' if i < 6 else 'train'},{'ours' if i % 2 else 'theirs'}")
    file = tmp_path / "table.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(models, "load_recognizer", lambda *_, **__: ColourRecognizer())
    app = typer.Typer()
    app.command()(evaluate)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_json_has_every_figure(table: Path, run):
    result = run("--manifest", table, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["count"] == 10
    assert report["top1"] == pytest.approx(0.9)
    assert report["top2"] == pytest.approx(0.9)  # the other two are equally probable; the first counts
    assert report["top5"] == 1
    assert report["mca"] == pytest.approx((1 + 3 / 4 + 1) / 3)
    assert report["classes"]["kitchen"] == {"count": 4, "top1": 0.75}
    assert report["sources"]["ours"]["count"] == 5
    assert np.array(report["confusion"]).sum() == 10


def test_split_only_when_asked(table: Path, run):
    assert json.loads(run("--manifest", table, "--split", "val", "--json").stdout)["count"] == 6


def test_predictions_table(table: Path, run, tmp_path: Path):
    out = tmp_path / "new folder" / "out.csv"
    assert run("--manifest", table, "--predictions", out).exit_code == 0
    rows = list(csv.reader(out.read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["path", "scene", "top1", "p1", "top2", "p2", "top3", "p3"]
    assert [row[0] for row in rows[1:]] == [f"pictures/ü {i}.png" for i in range(10)]
    assert rows[1][1:3] == ["forest", "forest"]
    assert float(rows[1][3]) > 0.9


def test_tables_for_people(table: Path, run):
    text = run("--manifest", table).stdout
    assert "Top@1" in text
    assert "ours" in text
    assert "kitchen" in text


def test_root_may_be_elsewhere(table: Path, tmp_path: Path):
    moved = tmp_path / "lists" / "table.csv"
    moved.parent.mkdir()
    table.rename(moved)
    assert PictureManifest.read(moved, tmp_path)[0].shape == (20, 30, 3)
    with pytest.raises(ManifestError, match=r"table\.csv line 2: no picture at .*--root"):
        PictureManifest.read(moved)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.png,forest\n", "line 1: no column 'scene'"),
        ("path,scene\na.png,\n", "line 2: path and scene must not be empty"),
        ("path,scene\n", "has no picture"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str):
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(ManifestError, match=message):
        PictureManifest.read(file)


def test_unknown_scene_names_line_and_known_ones(table: Path):
    table.write_text(table.read_text(encoding="utf-8").replace(",kitchen,", ",kichen,", 1), encoding="utf-8")
    with pytest.raises(ManifestError, match=r"line 3: unknown scene 'kichen'; the model knows forest, kitchen, street"):
        PictureManifest.read(table).targets(LABELS)


def test_broken_picture_names_its_line(table: Path):
    (table.parent / "pictures" / "ü 3.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(ManifestError, match=r"line 5: .*not a picture that can be read; remove the line"):
        PictureManifest.read(table)[3]


def test_unknown_split_lists_the_known(table: Path):
    with pytest.raises(ManifestError, match=r"split 'test' \(splits: train, val\)"):
        PictureManifest.read(table, split="test")


def test_no_manifest(tmp_path: Path):
    with pytest.raises(ManifestError, match="no manifest at"):
        PictureManifest.read(tmp_path / "none.csv")


def test_intervals_are_those_of_the_bootstrap(table: Path, run):
    report = json.loads(run("--manifest", table, "--json").stdout)
    scenes = [LABELS.index("kitchen" if i == 5 else LABELS[i % 3]) for i in range(10)]
    right = np.arange(10) != 5
    assert report["top1_interval"] == list(mean_interval(right))
    assert report["mca_interval"] == list(mca_interval(right, np.array(scenes)))
    assert report["sources"]["theirs"]["top1_interval"] == [1, 1]
    assert report["sources"]["ours"]["top1_interval"] == list(mean_interval(right[1::2]))
    low, high = report["top1_interval"]
    assert f"Top@1 {low:.3f} to {high:.3f}" in run("--manifest", table).stdout


def test_corruptions_by_hand(table: Path, run):
    """Mirrors change no colour; without colours the first scene of the list is always the best."""
    report = json.loads(run("--manifest", table, "--corruptions", "mirrored,grey", "--json").stdout)
    clean = json.loads(run("--manifest", table, "--json").stdout)
    found = report.pop("corruptions")
    assert list(found) == ["mirrored", "grey"]
    assert found["mirrored"] == {"top1": 0.9, "mca": clean["mca"], "loss": 0, "loss_interval": [0, 0]}
    assert found["grey"]["top1"] == pytest.approx(0.4)
    assert found["grey"]["mca"] == pytest.approx(1 / 3)
    assert found["grey"]["loss"] == pytest.approx(50)
    low, high = found["grey"]["loss_interval"]
    assert 0 < low < 50 < high <= 100
    assert report.pop("mean_loss") == pytest.approx(25)
    assert report == clean


def test_all_corruptions_repeat_and_are_in_the_table(table: Path, run):
    arguments = ("--manifest", table, "--split", "val", "--corruptions", "all")
    first = json.loads(run(*arguments, "--json").stdout)
    assert list(first["corruptions"]) == list(CORRUPTIONS)
    assert json.loads(run(*arguments, "--json").stdout) == first
    text = run(*arguments).stdout
    assert f"mean loss of Top@1: {first['mean_loss']:.1f} points" in text
    assert all(f"\n{name} " in text for name in CORRUPTIONS)


def test_predictions_are_those_of_the_clean_pictures(table: Path, run, tmp_path: Path):
    plain, corrupted = tmp_path / "plain.csv", tmp_path / "corrupted.csv"
    run("--manifest", table, "--predictions", plain)
    run("--manifest", table, "--predictions", corrupted, "--corruptions", "low_light")
    assert plain.read_bytes() == corrupted.read_bytes()


def test_unknown_corruption_lists_the_known(table: Path, run):
    with pytest.raises(UserError, match=r"unknown corruption 'rain'; known: all, motion_blur, .*mirrored"):
        run("--manifest", table, "--corruptions", "fog,rain")


def test_corruptions_go_with_models_only(table: Path, run):
    result = run("--manifest", table, "--checkpoint", "best.pth.tar", "--corruptions", "all")
    assert result.exit_code == 2
    assert "--corruptions goes with --model" in " ".join(result.stderr.replace("\u2502", " ").split())


def test_limit_is_evenly_spread(table: Path, run):
    assert json.loads(run("--manifest", table, "--limit", 4, "--json").stdout)["count"] == 4
    pictures = PictureManifest.read(table)
    assert [entry.line for entry in evenly_spread(pictures, 4).entries] == [2, 5, 8, 11]
    assert evenly_spread(pictures, None) == evenly_spread(pictures, 10) == evenly_spread(pictures, 99) == pictures


def test_without_leaves_out_what_a_table_names(table: Path, run, tmp_path: Path):
    file = tmp_path / "twins.csv"
    file.write_text("distance,path\n0,pictures/ü 5.png\n3,elsewhere.png\n2,pictures/ü 5.png\n", encoding="utf-8")
    result = run("--manifest", table, "--without", file, "--json")
    report = json.loads(result.stdout)
    assert (report["count"], report["top1"]) == (9, 1)
    assert "1 of 10 pictures left out" in result.stderr
    file.write_text("path\n", encoding="utf-8")  # nothing has a twin
    result = run("--manifest", table, "--without", file, "--json")
    assert json.loads(result.stdout)["count"] == 10
    assert "0 of 10 pictures left out" in result.stderr


def test_tables_to_leave_out_that_cannot_be_used(table: Path, tmp_path: Path):
    pictures, file = PictureManifest.read(table), tmp_path / "twins.csv"
    with pytest.raises(ManifestError, match="no list of pictures to leave out at"):
        leave_out(pictures, file)
    file.write_text("picture\na.png\n")
    with pytest.raises(ManifestError, match=r"twins\.csv line 1: no column 'path'"):
        leave_out(pictures, file)
    file.write_text("")
    with pytest.raises(ManifestError, match="no column 'path'"):
        leave_out(pictures, file)
    file.write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(ManifestError, match="not a CSV file in UTF-8"):
        leave_out(pictures, file)
    file.write_text("\n".join(["path", *(entry.path for entry in pictures.entries)]), encoding="utf-8")
    with pytest.raises(ManifestError, match="names all 10 pictures"):
        leave_out(pictures, file)
