"""MCAP from `watch` and `annotate`, and wherever labels are read."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from bus_harness import RunningBus
from label_files import UNKNOWN, labels, write_labels, write_video
from test_watch import feed, finish, watch

from streamer.errors import LabelFileError, OutputError, UserError
from streamer.label_file import read_labels
from streamer.message_file import read_messages
from tools.annotate import Annotation
from tools.annotation_extras import Extras
from tools.bus_recording import BusRecording
from tools.commands import run_command_line
from tools.label_copy import copy_labels

RULES = {"rules": [{"name": "stays", "when": {"scene": "kitchen", "for_s": 0.2}, "actions": [{"event": {}}]}]}


@pytest.mark.parametrize("name", ["cam.mcap", "cam.jsonl"])
def test_watch_records_what_it_hears(name, tmp_path):
    path = tmp_path / "new" / name
    with RunningBus(heartbeat_s=0.1) as bus:
        process = watch(bus.labels, "--json", "-o", path)
        feed(bus)
        time.sleep(0.3)
        bus.end()
        code, out, err = finish(process)
    assert code == 0, err
    printed = [json.loads(line)["body"] for line in out.splitlines()]
    kept = [body for body in printed if path.suffix == ".jsonl" or body["type"] != "heartbeat"]
    assert [message.body for message in read_messages(path, whole=True)] == kept
    assert {"label", "scene", "cut", "bye"} <= {body["type"] for body in kept}


@pytest.mark.parametrize(("end", "is_whole"), [(signal.SIGINT, True), (signal.SIGKILL, False)])
def test_a_recording_that_is_ended_holds_what_was_heard(end, is_whole, tmp_path):
    path = tmp_path / "cam.mcap"
    with RunningBus(heartbeat_s=0.1) as bus:
        process = watch(bus.labels, "-o", path)
        feed(bus)
        time.sleep(1.5)  # longer than it keeps anything to itself
        process.send_signal(end)
        finish(process)
    assert [line.moment.pts for line in read_labels(path)] == [0, 1, 2]
    if is_whole:
        assert list(read_messages(path, whole=True))
    else:
        with pytest.raises(LabelFileError, match="cut off"):
            list(read_messages(path, whole=True))


def test_a_recording_is_never_written_over(tmp_path):
    (tmp_path / "cam.mcap").write_text("dear")
    with pytest.raises(OutputError, match=r"cam\.mcap is there already; name a new file"):
        BusRecording(tmp_path / "cam.mcap")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        BusRecording(tmp_path / "cam.mcap" / "x.mcap")
    assert (tmp_path / "cam.mcap").read_text() == "dear"


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    full = Path("/dev/full").open("wb")  # noqa: SIM115
    monkeypatch.setattr(Path, "open", lambda *_: full)
    with (
        pytest.raises(OutputError, match=r"cam\.jsonl: the disk is full"),
        BusRecording(tmp_path / "cam.jsonl") as file,
    ):
        file.add(labels(["kitchen"])[0])
    assert full.closed


@pytest.fixture
def both(tmp_path):
    """The same labels in both formats."""
    lines = write_labels(tmp_path / "clip.labels.jsonl", labels(["kitchen"] * 10 + [UNKNOWN] * 3 + ["street"] * 4))
    copy_labels(lines, tmp_path / "clip.labels.mcap")
    return lines, tmp_path / "clip.labels.mcap"


def printed(capsys, *arguments: object) -> str:
    assert run_command_line(list(map(str, arguments))) == 0
    return capsys.readouterr().out


@pytest.mark.usefixtures("logs_as_they_were")
def test_every_reader_of_labels_takes_mcap(both, tmp_path, capsys):
    config = tmp_path / "rules.yaml"
    config.write_text(json.dumps(RULES))
    one, other = (printed(capsys, "summary", path, "--json") for path in both)
    assert one == other and json.loads(one)["frames"] == 17
    one, other = (printed(capsys, "rules", "test", config, path, "--json") for path in both)
    assert one == other and len(json.loads(one)["firings"]) == 1
    for path in both:
        printed(capsys, "timeline", path, "-o", tmp_path / path.suffix, "--formats", "csv,json")
    one, other = (sorted((tmp_path / path.suffix).iterdir()) for path in both)
    assert [file.name for file in one] == ["clip.cuts.csv", "clip.timeline.csv", "clip.timeline.json"]
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]


def test_annotate_adds_it_on_request(both, tmp_path):
    lines, copy = both
    copy.unlink()
    video = write_video(tmp_path / "clip.mp4", range(17))
    files = [video, lines]
    annotation = Extras(mcap=True).add_to(Annotation(video, files, 17, 0))
    assert annotation.files == [*files, copy] and annotation.problem is None
    assert [message.data for message in read_messages(copy)] == lines.read_bytes().splitlines()


def test_the_library_is_missed_before_the_work(tmp_path, monkeypatch, capsys):
    def missing() -> None:
        raise UserError("no mcap here")

    monkeypatch.setattr("streamer.mcap_file.require_mcap", missing)
    (tmp_path / "clip.mp4").write_text("")
    assert run_command_line(["annotate", str(tmp_path / "clip.mp4"), "-o", str(tmp_path), "--mcap"]) == 1
    assert "no mcap here" in capsys.readouterr().err
