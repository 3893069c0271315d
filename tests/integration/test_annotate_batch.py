"""Many recordings: several at once, a report of what failed and why, and an end that keeps what is done."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from clips import make_clip, video_times
from fakes import fake_recognizer
from rich.console import Console

from config.schema import Settings
from streamer.errors import OutputError, UserError
from tools.annotate import Annotation, Options, annotate_file
from tools.annotation_batch import Order, annotate_all, default_jobs
from tools.annotation_journal import parts_folder
from tools.annotation_report import json_line, table
from tools.commands import run_command_line
from tools.progress import CountBars

ROOT = Path(__file__).parents[2]


def order(folder, **model):
    return Order(folder, Settings.model_validate({"model": model}), Options("resume", segment_s=0.5))


def test_several_at_once(tmp_path):
    clips = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for clip in clips:
        make_clip(clip, frames=50)
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"junk")
    shown = []
    videos = [clips[0], junk, clips[1]]
    found = list(annotate_all(videos, order(tmp_path / "out"), 2, lambda *p: shown.append(p), threading.Event()))
    results = {annotation.video: annotation for annotation in found}
    assert set(results) == set(videos)
    assert "no video" in results[junk].problem
    for clip in clips:
        assert results[clip].problem is None
        assert video_times(results[clip].files[0]) == video_times(clip)
    assert {name for name, *_ in shown} == {"one.mp4", "two.mp4"}
    assert not multiprocessing.active_children()


def test_a_process_that_dies_costs_one_recording(tmp_path):
    clips = [tmp_path / f"{name}.mp4" for name in ("a", "b", "c")]
    make_clip(clips[0], frames=400)
    make_clip(clips[1], frames=30)
    make_clip(clips[2], frames=30)
    killed = []

    def show(name, done, expected):
        if name == "a.mp4" and done > 20 and not killed:
            # The first process got the first recording.
            child = min(multiprocessing.active_children(), key=lambda process: process.pid)
            os.kill(child.pid, signal.SIGKILL)
            killed.append(child)

    found = list(annotate_all(clips, order(tmp_path / "out"), 2, show, threading.Event()))
    problems = {annotation.video.stem: annotation.problem for annotation in found}
    assert killed
    assert "its process died (signal 9" in problems["a"]
    assert (problems["b"], problems["c"]) == (None, None)
    assert parts_folder(tmp_path / "out", "a").exists()


def test_a_model_that_does_not_exist_ends_all(tmp_path):
    clips = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    with pytest.raises(UserError, match="no-such-model"):
        list(annotate_all(clips, order(tmp_path, name="no-such-model"), 2, lambda *p: None, threading.Event()))
    assert not multiprocessing.active_children()


def test_jobs_by_cores(monkeypatch):
    for cores, videos, jobs in ((1, 5, 1), (2, 5, 1), (4, 5, 2), (4, 1, 1), (64, 50, 8)):
        monkeypatch.setattr("tools.annotation_batch.usable_cores", lambda cores=cores: cores)
        assert default_jobs(videos) == jobs


def start(*arguments):
    command = [sys.executable, "-m", "tools.cli", "annotate", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_command_ends_soon_and_is_resumed(jobs, tmp_path):
    clips, out = [tmp_path / "one.mp4", tmp_path / "two.mp4"][:jobs], tmp_path / "out"
    for clip in clips:
        make_clip(clip, frames=240, audio=None)
    command = [*clips, "-o", out, "--jobs", jobs, "--segment", 0.5]
    process = start(*command)
    journals = [parts_folder(out, clip.stem) / "journal.jsonl" for clip in clips]
    end = time.monotonic() + 120
    while not all(journal.exists() and len(journal.read_text().splitlines()) > 2 for journal in journals):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 8  # 5 s, and the interpreter's own end on a busy machine
    assert process.returncode == 130
    assert b"interrupted" in err and b"--resume" in err
    process = start(*command)
    out_text, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert b"--resume goes on, --restart does it anew" in err
    process = start(*command, "--resume", "--json", "--set", "model=scene18")
    out_text, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    for line in out_text.splitlines():
        body = json.loads(line)
        assert (body["result"], body["frames"]) == ("done", 240)
        assert body["resumed"] >= 15
        assert video_times(Path(body["files"][0])) == video_times(Path(body["video"]))
    assert len(list(out.iterdir())) == 3 * jobs


def test_full_disk_keeps_what_is_done(tmp_path):
    clip = tmp_path / "clip.mp4"
    make_clip(clip, frames=90, audio=None)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_progress(done, expected):
        if done == 60:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))

    options = Options(segment_s=0.5)
    try:
        with pytest.raises(OutputError, match=r"cannot write .*clip.*: the file gets larger than"):
            annotate_file(clip, tmp_path / "out", Settings(), fake_recognizer(), on_progress, None, options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    annotation = annotate_file(
        clip, tmp_path / "out", Settings(), fake_recognizer(), options=Options("resume", segment_s=0.5)
    )
    assert 30 <= annotation.resumed <= 60
    assert video_times(annotation.files[0]) == video_times(clip)


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--resume", "--restart"], 2, "--resume goes on with what"),
        (["--video-encoder", "h264"], 1, "unknown video encoder 'h264'; known: auto, h264_nvenc"),
        (["--preset", "warp"], 1, "libx264 has no preset 'warp'; it has ultrafast"),
        (["--crf", "52"], 2, "51"),
        (["--jobs", "0"], 2, "1"),
    ],
)
def test_wrong_use(options, code, text, tmp_path, capsys, logs_as_they_were):
    clip = tmp_path / "clip.mp4"
    make_clip(clip, frames=2, audio=None)
    arguments = ["annotate", str(clip), "-o", str(tmp_path / "out"), "--video-encoder", "libx264", *options]
    assert run_command_line(arguments) == code
    assert text in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_report():
    done = Annotation(Path("a/one.mp4"), [Path("out/one.annotated.mp4")], 200, seconds=8.0, resumed=100)
    cut = Annotation(Path("two.mp4"), [Path("out/two.annotated.mp4")], 50, 3, "two.mp4 ends early", seconds=2.0)
    failed = Annotation(Path("three.mp4"), problem="three.mp4 is no video")
    lines = table([done, cut, failed], [Path("four.mp4")]).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["one.mp4", "done"],
        ["two.mp4", "incomplete"],
        ["three.mp4", "failed"],
        ["four.mp4", "interrupted"],
    ]
    assert lines[1].split()[2:5] == ["200", "8.0", "12.5"]
    assert "100 frames were done before" in lines[1]
    assert "two.mp4 ends early; 3 damaged frames" in lines[2]
    assert "--resume" in lines[4]
    assert json.loads(json_line(done))["fps"] == 12.5
    assert json.loads(json_line(failed))["fps"] is None


def test_bars_come_and_go():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with CountBars("frames", console) as bars:
        bars.show("one.mp4", 1, 10)
        bars.show("two.mp4", 5, None)
        bars.show("one.mp4", 7, 10)
        bars.done("one.mp4")
        bars.done("never shown")
        bars.show("three.mp4", 1, 2)
    assert "one.mp4" in screen.getvalue() and "frames" in screen.getvalue()
