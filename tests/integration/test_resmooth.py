"""Recorded labels smoothed again: the same settings give the same states, others give others; no video is needed."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import jsonschema
import numpy as np
import pytest
from fakes import SCENES, FakeBackend

from config.schema import PluginChoice, Settings
from models.backends.base import NetworkOutput
from models.package import find_package
from models.recognizer import JointRecognizer
from streamer import schemas
from streamer.message_file import read_messages
from tools.annotate import annotate_file
from tools.commands import run_command_line
from tools.resmooth import resmooth_file

FRAMES = 60


class Unsure(FakeBackend):
    """Logits as from a network that is often wrong, others for each frame."""

    def infer(self, pictures):
        rng = np.random.default_rng(self.count)
        self.count += len(pictures)
        logits = rng.normal(0, 1.5, (len(pictures), SCENES)).astype(np.float32)
        logits[:, 3 if self.count < FRAMES / 2 else 7] += 3
        maps = np.zeros((len(pictures), 8, 8))
        unknown = rng.normal(-3, 2, len(pictures)).astype(np.float32)
        return NetworkOutput(
            logits, maps.astype(np.uint8), maps.astype(np.float32), maps.astype(np.float32), unknown=unknown
        )


def annotated(folder: Path, **smoother) -> Path:
    """The labels of a clip with a cut in its midst, of variable rate."""
    video = folder / "clip.mp4"
    noise = np.random.default_rng(0)
    with av.open(str(video), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for i in range(FRAMES):
            level = 40 if i < FRAMES // 2 else 190
            picture = noise.integers(level, level + 20, (90, 160, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = 40 * i + i % 3, Fraction(1, 1000)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    recognizer = JointRecognizer(find_package("scene18"), Unsure())
    # What `Unsure` says depends on the order in which it is asked, so frames go one at a time.
    settings = Settings.model_validate({"model": {"lanes": 1}} | ({"smoother": smoother} if smoother else {}))
    return next(p for p in annotate_file(video, folder, settings, recognizer).files if p.suffix == ".jsonl")


def bodies(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> Path:
    return annotated(tmp_path_factory.mktemp("annotated"))


def test_recorded_labels_have_all_that_a_smoother_takes(labels):
    found = bodies(labels)
    assert [body.get("cut") for body in found].count("hard") == 1
    for body in found:
        jsonschema.Draft202012Validator(schemas.load("label")).validate(body)
        assert list(body["probabilities"]) == list(find_package("scene18").labels)
        assert sum(body["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert 0 <= body["raw_p_unknown"] <= 1


@pytest.mark.parametrize("smoother", [{"kind": "hidden_markov"}, {"kind": "exponential", "params": {"confirm_s": 0.1}}])
def test_the_same_settings_give_the_same_bytes(smoother, tmp_path):
    labels, output = annotated(tmp_path, **smoother), tmp_path / "again.jsonl"
    assert resmooth_file(labels, output, PluginChoice.model_validate(smoother)) == FRAMES
    assert output.read_bytes() == labels.read_bytes()


def test_other_settings_replace_what_the_smoother_said_and_nothing_else(labels, tmp_path):
    output = tmp_path / "other.jsonl"
    resmooth_file(labels, output, PluginChoice(kind="exponential"))
    replaced = {"stable", "smoothed", "unknown", "p_unknown", "groups", "smoother"}
    before, after = bodies(labels), bodies(output)
    assert any(a["stable"] != b["stable"] for a, b in zip(before, after, strict=True))
    for a, b in zip(before, after, strict=True):
        assert b["smoother"]["kind"] == "exponential"
        assert {k: v for k, v in a.items() if k not in replaced} == {k: v for k, v in b.items() if k not in replaced}
        assert b["groups"]["indoor"] + b["groups"]["outdoor"] == pytest.approx(1 - b["p_unknown"])


def test_there_and_back(labels, tmp_path):
    there, back = tmp_path / "there.jsonl", tmp_path / "back.jsonl"
    resmooth_file(labels, there, PluginChoice(kind="exponential"))
    resmooth_file(there, back, PluginChoice(kind="hidden_markov"))
    assert back.read_bytes() == labels.read_bytes()


def test_looking_ahead_puts_the_change_at_the_cut(labels, tmp_path):
    output = tmp_path / "offline.jsonl"
    resmooth_file(labels, output, PluginChoice(kind="hidden_markov"), offline=True)
    found = bodies(output)
    assert [i for i, body in enumerate(found) if body["stable"]["changed"]] == [0, FRAMES // 2]
    assert found[0]["smoother"]["offline"] is True


def test_labels_of_the_bus_have_the_five_best_only(labels, tmp_path, caplog):
    short, output = tmp_path / "short.jsonl", tmp_path / "out.jsonl"
    kept = [{k: v for k, v in b.items() if k not in ("probabilities", "raw_p_unknown")} for b in bodies(labels)]
    short.write_text("".join(json.dumps(body) + "\n" for body in kept))
    resmooth_file(short, output, PluginChoice(kind="hidden_markov"))
    assert "only the five best scenes were recorded" in caplog.text
    agree = [a["stable"]["scene"] == b["stable"]["scene"] for a, b in zip(bodies(labels), bodies(output), strict=True)]
    assert sum(agree) > 0.8 * FRAMES


def test_a_model_that_is_not_here(labels, tmp_path, caplog):
    foreign, output = tmp_path / "foreign.jsonl", tmp_path / "out.jsonl"
    kept = [body | {"model": body["model"] | {"name": "elsewhere"}} for body in bodies(labels)]
    foreign.write_text("".join(json.dumps(body) + "\n" for body in kept))
    resmooth_file(foreign, output, PluginChoice(kind="hidden_markov"))
    assert "elsewhere is not on this machine" in caplog.text
    assert all("groups" not in body for body in bodies(output))


def test_each_source_is_smoothed_alone(labels, tmp_path):
    both, output = tmp_path / "both.jsonl", tmp_path / "out.jsonl"
    lines = labels.read_text().splitlines()
    other = [json.dumps(json.loads(line) | {"source": "other"}, separators=(",", ":")) for line in lines]
    both.write_text("".join(f"{a}\n{b}\n" for a, b in zip(lines, other, strict=True)))
    assert resmooth_file(both, output, PluginChoice(kind="hidden_markov")) == 2 * FRAMES
    assert output.read_bytes() == both.read_bytes()


def fails(capsys, *arguments: object) -> str:
    """The one line that the command prints as it fails."""
    assert run_command_line(["resmooth", *map(str, arguments)]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.usefixtures("logs_as_they_were")
def test_the_command(labels, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    assert run_command_line(["resmooth", str(labels), "-o", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(output), "labels": FRAMES}
    assert output.read_bytes() == labels.read_bytes()


@pytest.mark.usefixtures("logs_as_they_were")
def test_failures_are_one_clear_line_and_leave_no_file(labels, tmp_path, capsys):
    out = tmp_path / "out" / "x.jsonl"
    assert "no labels at" in fails(capsys, tmp_path / "none.jsonl", "-o", out)
    broken = tmp_path / "broken.jsonl"
    lines = labels.read_text().splitlines()
    for content, hint in (
        ("", "has no labels"),
        (lines[0] + "\n" + lines[1][:400], "line 2"),
        ('{"v":1,"type":"scene","source":"a","run":"b","seq":0}', "has no labels"),
        (json.dumps({k: v for k, v in json.loads(lines[0]).items() if k != "pts"}), "faulty entries"),
        (json.dumps(json.loads(lines[0]) | {"time_base": [1, 0]}), "faulty entries"),
    ):
        broken.write_text(content)
        assert hint in fails(capsys, broken, "-o", out)
    assert "looking ahead" in fails(capsys, labels, "-o", out, "--offline", "--set", "smoother=exponential")
    assert "known" in fails(capsys, labels, "-o", out, "--set", "smoother=moving_average")
    assert "no_such" in fails(capsys, labels, "-o", out, "--set", "smoother.params.no_such=1")
    (tmp_path / "file").write_text("")
    assert "a file stands where" in fails(capsys, labels, "-o", tmp_path / "file" / "x.jsonl")
    assert not out.exists()


@pytest.mark.usefixtures("logs_as_they_were")
def test_mcap_in_and_out_gives_the_same_labels(labels, tmp_path, capsys):
    copy, lines, again, other = (tmp_path / name for name in ("a.mcap", "a.jsonl", "b.mcap", "b.jsonl"))
    assert run_command_line(["resmooth", str(labels), "-o", str(copy), "--as-is"]) == 0
    assert f"{FRAMES} labels" in capsys.readouterr().err
    for smoother in (PluginChoice(kind="hidden_markov"), PluginChoice(kind="exponential")):
        resmooth_file(labels, lines, smoother)
        assert resmooth_file(copy, again, smoother) == resmooth_file(copy, other, smoother) == FRAMES
        assert other.read_bytes() == lines.read_bytes()
        assert [message.data for message in read_messages(again)] == lines.read_bytes().splitlines()


@pytest.mark.usefixtures("logs_as_they_were")
def test_what_is_whole_of_a_cut_file_can_be_copied(labels, tmp_path, capsys):
    cut, whole = tmp_path / "cut.jsonl", tmp_path / "whole.jsonl"
    cut.write_bytes(labels.read_bytes()[:-40])
    assert "--as-is" in fails(capsys, cut, "-o", whole)
    assert run_command_line(["resmooth", str(cut), "-o", str(whole), "--as-is"]) == 0
    assert f"last line ({FRAMES}) is cut off" in capsys.readouterr().err
    assert whole.read_bytes() == b"".join(labels.read_bytes().splitlines(keepends=True)[:-1])
    cut.write_text("")
    assert "holds no labels" in fails(capsys, cut, "-o", whole, "--as-is")
    assert run_command_line(["resmooth", str(labels), "-o", str(whole), "--as-is", "--offline"]) == 2
