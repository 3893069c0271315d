"""A job that was killed goes on where it stood, and its results are those of an unbroken run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
from clips import make_clip, packets, video_times
from fakes import breaks_at, fake_recognizer

from config.schema import Settings
from models.smoothing.base import Observation
from streamer.errors import OutputError
from streamer.history import History
from tools.annotate import Options, annotate_file
from tools.annotation_journal import parts_folder

SEGMENT_S = 0.4
FRAMES = 100
SCENES = (30, 220, 60, 200, 90, 150, 40)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Three seconds of seven scenes, with sound; a key frame every twelve frames, B-frames between."""
    path = tmp_path_factory.mktemp("clips") / "walk.mp4"
    make_clip(path, frames=FRAMES, start=9000, scenes=SCENES)
    return path


@pytest.fixture(scope="module")
def unbroken(clip, tmp_path_factory):
    """The results of one unbroken run."""
    return annotate(clip, tmp_path_factory.mktemp("unbroken"))


def annotate(clip, folder, mode="new", on_progress=None, interrupted=None, recognizer=None, **settings):
    settings = Settings.model_validate(settings)
    options = Options(mode=mode, segment_s=SEGMENT_S)
    return annotate_file(clip, folder, settings, recognizer or fake_recognizer(), on_progress, interrupted, options)


def stop_at(clip, folder, number, **settings):
    """Annotate and interrupt after that many frames."""
    interrupted = threading.Event()

    def on_progress(done, expected):
        if done == number:
            interrupted.set()

    with pytest.raises(KeyboardInterrupt):
        annotate(clip, folder, "resume", on_progress, interrupted, **settings)


def labels(path):
    bodies = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({body["run"] for body in bodies}) == 1
    return [{k: v for k, v in body.items() if k != "run" and not k.startswith("t_")} for body in bodies]


def assert_equal(annotation, other):
    """Two jobs over the same recording have the same results."""
    assert annotation.frames == other.frames
    (film, lines, timeline), (film_b, lines_b, timeline_b) = annotation.files, other.files
    assert video_times(film) == video_times(film_b)
    assert packets(film, "audio") == packets(film_b, "audio")
    assert labels(lines) == labels(lines_b)
    assert timeline.read_bytes() == timeline_b.read_bytes()


def test_the_unbroken_run_is_whole(clip, unbroken):
    assert video_times(unbroken.files[0]) == video_times(clip)
    assert packets(unbroken.files[0], "audio") == packets(clip, "audio")
    assert len({body["stable"]["scene"] for body in labels(unbroken.files[1])}) >= 4
    assert json.loads(unbroken.files[2].read_text())["cuts"]


@pytest.mark.parametrize("number", [1, 2, 12, 13, 50, 99])
def test_interrupted_and_resumed(number, clip, unbroken, tmp_path):
    stop_at(clip, tmp_path, number)
    annotation = annotate(clip, tmp_path, "resume")
    assert annotation.resumed == number
    assert_equal(annotation, unbroken)
    assert sorted(tmp_path.iterdir()) == sorted(annotation.files)


def test_interrupted_many_times(clip, unbroken, tmp_path):
    for number in range(7, FRAMES, 9):
        stop_at(clip, tmp_path, number)
    assert_equal(annotate(clip, tmp_path, "resume"), unbroken)


def test_networks_that_fail_cost_one_segment(clip, unbroken, tmp_path):
    with pytest.raises(RuntimeError, match="the networks failed"):
        annotate(clip, tmp_path, recognizer=fake_recognizer(breaks_at(70)))
    annotation = annotate(clip, tmp_path, "resume")
    assert 70 - 2 * 30 * SEGMENT_S <= annotation.resumed <= 70
    assert_equal(annotation, unbroken)


CHILD = """
import sys, time
from pathlib import Path
from fakes import fake_recognizer
from config.schema import Settings
from tools.annotate import Options, annotate_file
clip, folder = map(Path, sys.argv[1:3])
def slowly(done, expected):
    print(done, flush=True)
    time.sleep(0.02)
annotate_file(clip, folder, Settings(), fake_recognizer(), slowly, None, Options(mode="resume", segment_s=0.4))
"""


def kill_at(clip, folder, number):
    """Annotate in a process of its own and kill it once it has told of that many frames; the frames told."""
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(tests.parent), str(tests)])
    command = [sys.executable, "-c", CHILD, str(clip), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}) as child:
        told = 0
        for line in child.stdout:
            told = int(line)
            if told >= number:
                child.send_signal(signal.SIGKILL)
                break
        child.wait()
    return told


def test_killed_and_resumed(clip, unbroken, tmp_path):
    kill_at(clip, tmp_path, 37)
    assert [path.name for path in tmp_path.iterdir()] == [".walk.annotated.parts"]
    told = kill_at(clip, tmp_path, 81)
    assert told >= 81
    annotation = annotate(clip, tmp_path, "resume")
    assert 81 - 2 * 30 * SEGMENT_S <= annotation.resumed <= told + 1
    assert_equal(annotation, unbroken)
    assert sorted(tmp_path.iterdir()) == sorted(annotation.files)


@pytest.mark.parametrize("limited", [False, True])
def test_killed_between_the_last_frame_and_the_results(limited, clip, unbroken, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    capture = {"max_frames": 20} if limited else {}
    with monkeypatch.context() as patched:
        patched.setattr("streamer.sinks.video.join", killed)
        with pytest.raises(KeyboardInterrupt):
            annotate(clip, tmp_path, capture=capture)
    annotation = annotate(clip, tmp_path, "resume", capture=capture)
    assert annotation.resumed == annotation.frames == (20 if limited else FRAMES)
    if not limited:
        assert_equal(annotation, unbroken)


def test_a_torn_journal_and_files_of_no_segment(clip, unbroken, tmp_path):
    stop_at(clip, tmp_path, 50)
    parts = parts_folder(tmp_path, clip.stem)
    with (parts / "journal.jsonl").open("a") as journal:
        journal.write('{"segment": 99, "fra')
    (parts / "000099.mp4").write_bytes(b"half a part")
    (parts / ".scene-streamer-0123.part").write_bytes(b"half a film")
    assert_equal(annotate(clip, tmp_path, "resume"), unbroken)


@pytest.mark.parametrize("kind", ["mkv", "ts"])
def test_other_containers(kind, tmp_path):
    clip = tmp_path / f"walk.{kind}"
    make_clip(clip, frames=60, audio="mp2", time_base=Fraction(1, 1000), scenes=SCENES)
    stop_at(clip, tmp_path / "out", 40)
    assert_equal(annotate(clip, tmp_path / "out", "resume"), annotate(clip, tmp_path / "whole"))


def test_times_that_run_backwards(tmp_path):
    """Two streams in a row, as a recorder leaves them that was started twice; entered by counting frames."""
    one, two = tmp_path / "one.ts", tmp_path / "two.ts"
    make_clip(one, frames=40, start=9_000_000, audio="mp2", scenes=SCENES)
    make_clip(two, frames=40, start=90_000, audio="mp2", scenes=SCENES)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    whole = annotate(both, tmp_path / "whole")
    assert {body["epoch"] for body in labels(whole.files[1])} == {0, 1}
    stop_at(both, tmp_path / "out", 60)
    assert_equal(annotate(both, tmp_path / "out", "resume"), whole)


def test_without_resume_an_unfinished_job_is_an_error(clip, unbroken, tmp_path):
    stop_at(clip, tmp_path, 50)
    with pytest.raises(OutputError, match=r"50 frames are done; --resume goes on, --restart does it anew"):
        annotate(clip, tmp_path)
    annotation = annotate(clip, tmp_path, "restart")
    assert annotation.resumed == 0
    assert_equal(annotation, unbroken)


def test_another_recording_or_other_settings(clip, tmp_path):
    copy = tmp_path / "walk.mp4"
    copy.write_bytes(clip.read_bytes())
    stop_at(copy, tmp_path / "out", 50)
    with pytest.raises(OutputError, match=r"settings overlay was .*'tint': 0.35.* is .*'tint': 0.0.*--restart"):
        annotate(copy, tmp_path / "out", "resume", overlay={"tint": 0})
    os.utime(copy, ns=(time.time_ns(), time.time_ns()))
    with pytest.raises(OutputError, match="recording mtime_ns was"):
        annotate(copy, tmp_path / "out", "resume")
    assert len(list(parts_folder(tmp_path / "out", "walk").iterdir())) > 3


def test_damaged_parts(clip, tmp_path):
    stop_at(clip, tmp_path, 50)
    (parts_folder(tmp_path, clip.stem) / "000001.mp4").write_bytes(b"")
    with pytest.raises(OutputError, match="files of segment 1 are not as they were"):
        annotate(clip, tmp_path, "resume")


def test_two_processes_at_one_recording(clip, tmp_path):
    def on_progress(done, expected):
        if done == 20:
            with pytest.raises(OutputError, match="another process is at this recording"):
                annotate(clip, tmp_path, "resume")

    assert annotate(clip, tmp_path, on_progress=on_progress).frames == FRAMES


def test_what_is_done_is_left_alone(clip, tmp_path):
    first = annotate(clip, tmp_path, "resume")
    before = [path.stat().st_mtime_ns for path in first.files]
    again = annotate(clip, tmp_path, "resume")
    assert (again.frames, again.resumed, again.notes) == (FRAMES, FRAMES, ("was done before",))
    assert [path.stat().st_mtime_ns for path in again.files] == before
    assert annotate(clip, tmp_path).resumed == 0


def test_history_keeps_all_that_a_smoother_sees():
    """A field of `Observation` that is not recorded would be missing when a job is resumed."""
    recorded = {"probabilities": "probabilities", "pts": "pts", "time_base": "time_base", "epoch": "epochs"}
    recorded |= {"cut": "transitions", "p_unknown": "p_unknown"}
    assert set(recorded) == set(Observation.__slots__)
    assert set(recorded.values()) <= set(History.__slots__)
