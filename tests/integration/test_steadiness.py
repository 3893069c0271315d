"""The benchmark of steadiness from pictures to table: videos and predictions are made once, and the table of them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import breaks_at, brightness, fake_recognizer

import models
from config.schema import CutSettings, PluginChoice
from tools.commands import run_command_line
from tools.steadiness import making
from tools.steadiness.making import Plan, draw_list, make_list, pictures_of, video_names
from tools.steadiness.methods import case_of
from tools.steadiness.predicting import predict_video
from tools.steadiness.report import compare, write_report
from tools.walkthrough.truth import read_truth, truth_path

SMALL = Plan(segments=4, per_video=2, segment_seconds=Fraction(2), size=(64, 48), fps=Fraction(10))


GREYS = {scene: brightness(scene) for scene in ("entrance_hall", "forest", "highway")}


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Thirty grey pictures of each of three scenes, a third of them for val."""
    folder = tmp_path_factory.mktemp("pictures")
    lines = ["path,scene,split"]
    for scene, value in GREYS.items():
        for i in range(75):
            cv2.imwrite(str(folder / f"{scene}{i}.png"), np.full((60, 80, 3), value, np.uint8))
            lines.append(f"{scene}{i}.png,{scene},{'val' if i < 25 else 'train'}")
    file = folder / "scenes.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_dev_is_set_aside_of_train_and_val_is_val(table):
    dev, val = pictures_of("dev", table, None), pictures_of("val", table, None)
    assert len(val) == 75
    assert len(dev) == 15  # a tenth of each scene
    assert {entry.split for entry in dev.entries} == {"train"}


def test_the_list_is_drawn_once_and_for_all(table):
    pictures = pictures_of("val", table, None)
    walks = draw_list(pictures, SMALL)
    assert walks == draw_list(pictures, SMALL)
    assert [len(walk.segments) for walk in walks] == [2, 2]
    shown = [shot.picture for walk in walks for shot in walk.shots]
    assert len(shown) == len(set(shown))
    scenes = [segment.scene for walk in walks for segment in walk.segments]
    assert max(map(scenes.count, GREYS)) - min(map(scenes.count, GREYS)) <= 1


def test_what_is_there_is_not_made_again(table, tmp_path):
    pictures = pictures_of("val", table, None)
    walks = draw_list(pictures, SMALL)
    videos = video_names(tmp_path, SMALL, len(walks))
    told: list[tuple[int, int | None]] = []
    make_list(walks, pictures, videos, lambda *progress: told.append(progress))
    assert [path.name for path in videos] == ["val-00.mp4", "val-01.mp4"]
    assert told[-1] == (80, 80)
    before = [path.stat().st_mtime_ns for path in videos]
    make_list(walks, pictures, videos)
    assert [path.stat().st_mtime_ns for path in videos] == before
    truth = read_truth(truth_path(videos[0]))
    first = predict_video(fake_recognizer(), videos[0], truth)
    again = predict_video(fake_recognizer(breaks_at(0)), videos[0], truth)  # the networks are not asked
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    np.testing.assert_array_equal(first.thumbnails, again.thumbnails)
    assert first.p_unknown is None and again.p_unknown is None
    case = case_of(first, truth, fake_recognizer().labels, CutSettings())
    result = compare([case], PluginChoice(kind="hidden_markov"), 0.0)
    assert result["methods"]["raw"]["accuracy"] > 0.5
    files = write_report(result, tmp_path, "val")
    assert json.loads(files[0].read_text()) == result
    assert files[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("logs_as_they_were")
def test_the_command(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "load_recognizer", lambda *_, **__: fake_recognizer())
    monkeypatch.setattr(making, "Plan", lambda **given: Plan(**{**vars_of(SMALL), **given}))
    arguments = ["walkthrough", "steadiness", "-m", str(table), "-o", str(tmp_path), "--segments", "2"]
    assert run_command_line(arguments) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["method", "raw", "3"]
    assert str(tmp_path / "steadiness-val.json") in out
    assert run_command_line([*arguments, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"model", "part", "segments", "methods", "cuts"}
    assert run_command_line([*arguments, "--part", "test"]) == 2
    assert run_command_line([*arguments, "--tune", "median"]) == 2


def vars_of(plan: Plan) -> dict:
    return {name: getattr(plan, name) for name in plan.__slots__}
