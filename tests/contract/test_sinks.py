"""What every sink must keep: its life cycle, whole files or none, and errors that say what to do."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager

import numpy as np
import pytest
from scene_states import gradient, make_info, make_state

from config.schema import OverlaySettings
from streamer.errors import ConfigError, OutputError, UnknownPluginError
from streamer.files import PendingFile
from streamer.message import decode
from streamer.sinks import SINKS
from streamer.sinks.base import Segment, Target

NAMES = SINKS.names()
ENDINGS = {"video": "annotated.mp4", "jsonl": "labels.jsonl", "timeline": "timeline.json"}
FILES = [name for name in NAMES if name != "memory"]


def build(name, directory, stem="clip", **params):
    return SINKS.build(name, params, target=Target(directory, stem, OverlaySettings(), run="run-id"))


def states(count, **changes):
    return [make_state(gradient(64, 48, i), pts=i, seq=i, **changes) for i in range(count)]


def drive(sink, some_states):
    sink.open(make_info())
    sink.begin(Segment())
    for state in some_states:
        sink.write(state)
    sink.end(Segment())


def test_every_file_sink_has_its_ending_here():
    assert set(FILES) == set(ENDINGS)


@pytest.mark.parametrize("name", NAMES)
def test_target_appears_on_close_and_is_all_there_is(name, tmp_path):
    with build(name, tmp_path) as sink:
        drive(sink, states(5))
        assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
        results = sink.close()
    expected = [tmp_path / f"clip.{ENDINGS[name]}"] if name in ENDINGS else []
    assert results == expected == list(tmp_path.iterdir())
    assert all(path.stat().st_size > 0 for path in results)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("written", [0, 1, 5])
def test_abort_leaves_nothing(name, written, tmp_path):
    sink = build(name, tmp_path)
    sink.abort()
    drive(sink, states(written))
    sink.abort()
    sink.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_exception_aborts(name, tmp_path):
    with pytest.raises(KeyboardInterrupt), build(name, tmp_path) as sink:
        drive(sink, states(3))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_no_frames_no_file(name, tmp_path):
    sink = build(name, tmp_path)
    drive(sink, [])
    assert sink.close() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
def test_abort_keeps_a_former_result(name, tmp_path):
    former = tmp_path / f"clip.{ENDINGS[name]}"
    former.write_text("former")
    sink = build(name, tmp_path)
    drive(sink, states(3))
    sink.abort()
    assert former.read_text() == "former"


@pytest.mark.parametrize("name", FILES)
def test_close_replaces_a_former_result(name, tmp_path):
    former = tmp_path / f"clip.{ENDINGS[name]}"
    former.write_text("former")
    sink = build(name, tmp_path)
    drive(sink, states(3))
    assert sink.close() == [former]
    assert former.read_bytes() != b"former"


@pytest.mark.parametrize("name", FILES)
def test_missing_folders_are_made(name, tmp_path):
    sink = build(name, tmp_path / "a" / "b")
    drive(sink, states(2))
    assert sink.close()[0].parent == tmp_path / "a" / "b"


@pytest.mark.parametrize("name", FILES)
def test_folder_that_is_a_file(name, tmp_path):
    # Not a folder without permission: tests may run as root, whom permissions do not stop.
    (tmp_path / "file").write_text("")
    sink = build(name, tmp_path / "file")
    with pytest.raises(OutputError, match=r"cannot write .*clip.* a file stands where a folder is needed"):
        sink.open(make_info())
    sink.abort()


@pytest.mark.parametrize("name", FILES)
def test_folder_at_the_target(name, tmp_path):
    (tmp_path / f"clip.{ENDINGS[name]}").mkdir()
    sink = build(name, tmp_path)
    with pytest.raises(OutputError, match="folder of that name"):
        sink.open(make_info())


@pytest.mark.parametrize("name", FILES)
def test_long_names(name, tmp_path):
    stem = "s" * (255 - len(ENDINGS[name]) - 1)
    sink = build(name, tmp_path, stem)
    drive(sink, states(1))
    assert sink.close() == [tmp_path / f"{stem}.{ENDINGS[name]}"]
    sink = build(name, tmp_path, stem + "s")
    with pytest.raises(OutputError, match="name is too long"):
        sink.open(make_info())
    assert len(list(tmp_path.iterdir())) == 1


@contextmanager
def small_disk():
    """Files end after 2,000 bytes, as on a full disk. No fixture: pytest's own output may be a file as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", FILES)
def test_full_disk(name, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    scenes = ("kitchen", "street") * 30
    sink = build(name, tmp_path)
    # A sink may buffer until it closes.
    with small_disk(), pytest.raises(OutputError, match=r"cannot write .*clip"):
        drive(sink, [make_state(noise, scene=scene, pts=i, seq=i) for i, scene in enumerate(scenes)])
        sink.close()
    sink.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_unknown_parameters_are_errors(name, tmp_path):
    with pytest.raises(ConfigError, match="unknown key 'colour'"):
        build(name, tmp_path, colour="red")


def test_unknown_sink(tmp_path):
    with pytest.raises(UnknownPluginError, match="memory"):
        build("tape", tmp_path)


def test_memory_keeps_the_newest(tmp_path):
    sink = build("memory", tmp_path, newest=2)
    drive(sink, states(5))
    sink.close()
    assert [state.seq for state in sink.states] == [3, 4]
    assert sink.closed and sink.source == make_info()


def test_jsonl_holds_a_label_a_frame(tmp_path):
    sink = build("jsonl", tmp_path)
    drive(sink, states(4))
    bodies = [decode(line) for line in sink.close()[0].read_bytes().splitlines()]
    assert [body["pts"] for body in bodies] == [0, 1, 2, 3]
    assert {body["run"] for body in bodies} == {"run-id"}
    assert {body["type"] for body in bodies} == {"label"}


def test_timeline_has_no_gaps(tmp_path):
    scenes = ["kitchen", "kitchen", "street", "street", "kitchen"]
    pts = [100, 110, 135, 140, 150]
    sink = build("timeline", tmp_path)
    shots = enumerate(zip(scenes, pts, strict=True))
    drive(sink, [make_state(scene=s, pts=t, seq=i, cut=i == 2, unknown=i == 1) for i, (s, t) in shots])
    body = json.loads(sink.close()[0].read_text())
    found = [(s["scene"], s["start_pts"], s["end_pts"], s["frames"], s["unknown"]) for s in body["segments"]]
    assert found == [("kitchen", 100, 135, 2, 0.5), ("street", 135, 150, 2, 0.0), ("kitchen", 150, 160, 1, 0.0)]
    assert body["segments"][0]["start_s"] == 4.0
    assert body["segments"][0]["p"] == pytest.approx(0.7)
    (cut,) = body["cuts"]
    assert cut == {"kind": "hard", "frame_id": 2, "pts": 135, "time_base": [1, 25], "s": 5.4, "at_s": 1.4, "epoch": 0}
    spans = [(s["scene"], s["start_pts"], s["end_pts"], s["at_s"], s["duration_s"]) for s in body["spans"]]
    assert spans == [
        ("kitchen", 100, 110, 0.0, 0.4),
        (None, 110, 135, 0.4, 1.0),
        ("street", 135, 150, 1.4, 0.6),
        ("kitchen", 150, 160, 2.0, 0.4),
    ]
    assert (body["duration_s"], body["longest_gap_s"]) == (2.4, 1.0)
    assert (body["version"], body["frames"], body["model"]["name"]) == (1, 5, "scene18")


def test_timeline_splits_at_a_new_epoch(tmp_path):
    sink = build("timeline", tmp_path)
    drive(sink, [make_state(pts=t, epoch=e) for t, e in [(0, 0), (2, 0), (0, 1), (2, 1)]])
    body = json.loads(sink.close()[0].read_text())
    assert [(s["epoch"], s["start_pts"], s["end_pts"]) for s in body["segments"]] == [(0, 0, 4), (1, 0, 4)]


def test_pending_file_obeys_the_umask_and_cleans_up(tmp_path):
    pending = PendingFile(tmp_path / "x.txt")
    pending.path.write_text("whole")
    path = pending.commit()
    pending.discard()
    (tmp_path / "plain").write_text("")
    assert path.read_text() == "whole"
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
