"""`scene-streamer precompute` over miniatures: what it writes, what it keeps, and what a kill leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from paper_data import MiniDataset, write_dataset
from PIL import Image

import tools.precompute
from models.encoding import LabelBase
from models.errors import ModelError
from models.segmentation import Picture, PictureSegmenter
from tools.commands import run_command_line
from tools.data.layouts import LAYOUTS, SPLITS, read_layout
from tools.data.manifest import PictureManifest
from tools.data.semantics import SemanticFiles


class ColourSegmenter(PictureSegmenter):
    """Says which channel a pixel has most of."""

    name, sha256, class_ids, device = "colours", "ab" * 32, (1, 70, 150, 0), "cpu"

    def probabilities(self, picture: Picture, size: tuple[int, int] | None = None) -> np.ndarray:
        if picture.shape[1] == 13:
            raise ValueError("13 columns bring bad luck")
        shares = picture.transpose(2, 0, 1).astype(np.float32) + 1
        return np.concatenate([shares, np.zeros_like(shares[:1])]) / shares.sum(0)


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> list[Picture]:
    """In place of any segmenter; gives the pictures that were segmented."""
    seen: list[Picture] = []

    class Recording(ColourSegmenter):
        def probabilities(self, picture: Picture, size: tuple[int, int] | None = None) -> np.ndarray:
            seen.append(picture)
            return super().probabilities(picture, size)

    monkeypatch.setattr(tools.precompute, "load_segmenter", lambda *_, **__: Recording())
    return seen


def run(*arguments: object) -> int:
    return run_command_line(["precompute", "--segmenter", "scene18", *map(str, arguments)])


@pytest.fixture
def data(tmp_path: Path) -> MiniDataset:
    return write_dataset("ade20k", tmp_path / "ade")


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_picture_of_a_data_set(name: str, tmp_path: Path, colours: list[Picture]) -> None:
    data = write_dataset(name, tmp_path, train=1, val=1, size=(24, 30))
    assert run("--dataset", name, "--root", tmp_path) == 0
    files = SemanticFiles(tmp_path, data.layout)
    for split in SPLITS:
        pictures = read_layout(name, tmp_path, split)
        for index, entry in enumerate(pictures.entries):
            expected = ColourSegmenter().encode(pictures[index])
            read = files.read(entry, (24, 30))
            np.testing.assert_array_equal(read.labels, expected.labels)
            np.testing.assert_array_equal(read.scores, expected.scores)
    note = files.note(pictures.entries[0])
    assert note == {"LabelBase": "0", "Segmenter": "colours", "SegmenterSha256": "ab" * 32, "Scales": "own"}
    assert not list(tmp_path.rglob(".*"))


def test_one_split_into_another_folder_in_base_1(data: MiniDataset, tmp_path: Path, colours: list[Picture]) -> None:
    out = tmp_path / "out"
    assert run("--dataset", "ade20k", "--root", data.root, "--split", "val", "--output", out, "--label-base", 1) == 0
    assert len(list(out.rglob("*.png"))) == 12
    assert not list(data.root.rglob("*.png"))
    pictures = read_layout("ade20k", data.root, "val")
    read = SemanticFiles(out, data.layout).read(pictures.entries[0])
    np.testing.assert_array_equal(read.labels, ColourSegmenter().encode(pictures[0], LabelBase.ONE).labels)
    assert set(np.unique(read.labels)) <= {1, 70, 150}


def test_a_table_of_pictures(tmp_path: Path, colours: list[Picture], capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("a/1.jpg", "b.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 6), "red").save(tmp_path / path)
    table = tmp_path / "table.csv"
    table.write_text("path,scene,split\na/1.jpg,x,train\nb.png,y,val\na/1.jpg,x,val\n")
    assert run("--manifest", table, "--json", "--output", tmp_path / "out") == 0
    assert json.loads(capsys.readouterr().out) == {"written": 2, "kept": 0, "failures": []}
    entries = PictureManifest.read(table).entries
    assert all(SemanticFiles(tmp_path / "out").is_written(entry) for entry in entries)


def test_pictures_whose_files_would_be_the_same(
    tmp_path: Path, colours: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,scene\na.jpg,x\na.png,y\n")
    assert run("--manifest", table) == 1
    assert "a.jpg and a.png would have the same semantics file" in capsys.readouterr().err


def test_only_what_is_missing_or_damaged_is_done_again(
    data: MiniDataset, colours: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--dataset", "ade20k", "--root", data.root, "--json")
    assert run(*arguments) == 0
    files = SemanticFiles(data.root, data.layout)
    entries = read_layout("ade20k", data.root).entries
    before = {path: path.read_bytes() for path in data.root.rglob("*.png")}
    times = {path: path.stat().st_mtime_ns for path in before}

    files.paths(entries[0])[1].unlink()
    cut = files.paths(entries[1])[0]
    cut.write_bytes(before[cut][:100])
    Image.new("RGB", (5, 5)).save(files.paths(entries[2])[0])
    Image.new("RGB", (60, 48), (200, 0, 0)).save(files.paths(entries[3])[0])
    colours.clear()
    capsys.readouterr()

    assert run(*arguments, "--force") == 0
    assert json.loads(capsys.readouterr().out) == {"written": 4, "kept": 8, "failures": []}
    assert len(colours) == 4
    assert {path: path.read_bytes() for path in data.root.rglob("*.png")} == before
    kept = {path for path, then in times.items() if path.stat().st_mtime_ns == then}
    assert len(kept) == 16


def test_files_that_something_else_made_are_not_mixed(
    data: MiniDataset, colours: list[Picture], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--dataset", "ade20k", "--root", data.root)
    assert run(*arguments) == 0
    before = {path: path.read_bytes() for path in data.root.rglob("*.png")}
    assert run(*arguments, "--label-base", 1) == 1
    assert "made otherwise (LabelBase: 0, not 1); choose another --output, or replace" in capsys.readouterr().err
    monkeypatch.setattr(ColourSegmenter, "sha256", "cd" * 32)
    assert run(*arguments) == 1
    assert f"made otherwise (SegmenterSha256: {'ab' * 32}, not {'cd' * 32})" in capsys.readouterr().err
    assert run(*arguments, "--scales", "300,375") == 1
    assert "(SegmenterSha256" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in data.root.rglob("*.png")} == before
    assert run(*arguments, "--force") == 0
    assert {path: path.read_bytes() for path in data.root.rglob("*.png")} != before


def test_released_files_are_not_overwritten(
    data: MiniDataset, colours: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    files = SemanticFiles(data.root, data.layout)
    for path in files.paths(read_layout("ade20k", data.root).entries[0]):
        path.parent.mkdir(parents=True)
        Image.new("RGB", (60, 48)).save(path)
    assert run("--dataset", "ade20k", "--root", data.root) == 1
    assert "(LabelBase: not stated, not 0)" in capsys.readouterr().err


def test_broken_pictures_are_named_and_the_rest_goes_on(
    data: MiniDataset, colours: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [data.root / entry.path for entry in read_layout("ade20k", data.root).entries]
    paths[0].write_bytes(b"no picture")
    paths[1].unlink()
    Image.new("RGB", (13, 13)).save(paths[2])
    assert run("--dataset", "ade20k", "--root", data.root, "--json") == 1
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["written"] == 9
    assert [failure["path"] for failure in report["failures"]] == [str(path) for path in paths[:3]]
    assert "is not a picture that can be read" in said.err
    assert f"no picture at {paths[1]}" in said.err
    assert f"{paths[2]}: 13 columns bring bad luck" in said.err
    assert "3 pictures without semantics" in said.err


def test_a_full_disk_ends_the_run(
    data: MiniDataset, colours: list[Picture], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert run("--dataset", "ade20k", "--root", data.root) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert not list(data.root.rglob("*.part"))


def test_two_runs_do_not_write_into_one_folder(
    data: MiniDataset, colours: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    with tools.precompute.sole_writer(SemanticFiles(data.root)):
        assert run("--dataset", "ade20k", "--root", data.root) == 1
    assert "another precompute writes into" in capsys.readouterr().err
    assert run("--dataset", "ade20k", "--root", data.root) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "give either --manifest CSV or --dataset NAME"),
        (("--dataset", "ade20k"), 2, "--dataset needs --root"),
        (("--dataset", "ade20k", "--root", "nowhere"), 1, "no folder nowhere"),
        (("--manifest", "a.csv", "--scales", "300,x"), 2, "--scales is a list of pixels"),
        (("--manifest", "a.csv"), 1, "no manifest at a.csv"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], code: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == code
    assert text in capsys.readouterr().err


def test_the_papers_scales_go_to_segmenters_that_take_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    class Package:
        class manifest:  # noqa: N801
            kind = "segmenter"

    assert tools.precompute.scales_of("scene18", None) is None
    assert tools.precompute.scales_of("huggingface:x/y", None) is None
    assert tools.precompute.scales_of("scene18", (320,)) == (320,)
    with pytest.raises(ModelError, match="unknown model 'upernet_r50'"):
        tools.precompute.scales_of("upernet_r50", None)
    monkeypatch.setattr(tools.precompute, "find_package", lambda _: Package())
    assert tools.precompute.scales_of("upernet_r50", None) == (300, 375, 450, 525, 600)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_goes_on_where_it_was(tmp_path: Path, ending: signal.Signals) -> None:
    root = Path(__file__).parents[2]
    data = write_dataset("mit67", tmp_path, train=12, val=2, size=(60, 80))
    command = [sys.executable, "-m", "tools.cli", "precompute", "--dataset", "mit67", "--root", str(tmp_path)]
    command += ["--segmenter", "scene18", "--json"]
    written = tmp_path / "noisy_scores_RGB"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root) as run:
        deadline = time.monotonic() + 120
        while sum(1 for _ in written.rglob("*.png")) < 5 and run.poll() is None:
            assert time.monotonic() < deadline, "no file within two minutes"
            time.sleep(0.01)
        os.kill(run.pid, ending)
        run.communicate(timeout=60)
    assert run.returncode == (-signal.SIGKILL if ending == signal.SIGKILL else 130)

    files = SemanticFiles(tmp_path, data.layout)
    entries = [entry for split in SPLITS for entry in read_layout("mit67", tmp_path, split).entries]
    whole = [entry for entry in entries if files.is_written(entry)]
    assert 5 <= len(whole) < len(entries)
    for entry in whole:
        files.read(entry, (60, 80))

    done = subprocess.run(command, capture_output=True, cwd=root, timeout=150)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"written": len(entries) - len(whole), "kept": len(whole), "failures": []}
    assert not list(tmp_path.rglob("*.part"))
