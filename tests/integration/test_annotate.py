"""Recordings annotated: every frame, at its own time; what fails is told and leaves nothing behind."""

from __future__ import annotations

import json
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
import typer
from fakes import breaks_at, fake_recognizer
from typer.testing import CliRunner

from config.schema import Settings
from streamer.errors import OutputError, SourceError, UserError
from streamer.sinks import SINKS
from tools.annotate import Options, annotate_file
from tools.annotation_job import SINK_NAMES
from tools.commands.annotate import annotate
from tools.recordings import find_videos

PTS = [40, 80, 120, 200, 205, 260, 1000, 1040, 1080, 1200, 1240, 1300]


def encode(path, pictures, **options):
    """An MP4 whose pictures have the times `PTS`, in milliseconds."""
    with av.open(
        str(path), "w", options={"video_track_timescale": "1000", "movie_timescale": "1000"} | options
    ) as film:
        stream = film.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for picture, pts in zip(pictures, PTS, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 1000)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Twelve frames of variable rate that start after zero and turn from dark to bright."""
    path = tmp_path_factory.mktemp("clips") / "my clip.mp4"
    encode(path, [np.full((90, 160, 3), 30 if i < 6 else 220, np.uint8) for i in range(12)])
    return path


def test_every_frame_at_its_own_time(clip, tmp_path):
    told = []
    annotation = annotate_file(clip, tmp_path, Settings(), fake_recognizer(), lambda *progress: told.append(progress))
    assert [path.name for path in annotation.files] == [
        "my clip.annotated.mp4",
        "my clip.labels.jsonl",
        "my clip.timeline.json",
    ]
    assert sorted(tmp_path.iterdir()) == sorted(annotation.files)
    assert (annotation.frames, annotation.damaged, annotation.problem) == (12, 0, None)
    assert told[-1] == (12, 12)
    video, labels, timeline = annotation.files
    with av.open(str(video)) as container:
        assert [(f.pts, f.time_base) for f in container.decode(video=0)] == [(t, Fraction(1, 1000)) for t in PTS]
    assert [json.loads(line)["pts"] for line in labels.read_text().splitlines()] == PTS
    body = json.loads(timeline.read_text())
    assert [segment["frames"] for segment in body["segments"]] == [6, 6]
    assert body["source"]["name"] == "my_clip"


def test_a_live_policy_in_the_settings_drops_nothing(clip, tmp_path):
    settings = Settings.model_validate({"capture": {"policy": "latest", "realtime": True}})
    assert annotate_file(clip, tmp_path, settings, fake_recognizer()).frames == 12


def test_interruption_leaves_what_can_be_resumed(clip, tmp_path):
    interrupted = threading.Event()

    def on_progress(done, expected):
        if done == 3:
            assert list(tmp_path.iterdir())
            interrupted.set()

    with pytest.raises(KeyboardInterrupt):
        annotate_file(clip, tmp_path, Settings(), fake_recognizer(), on_progress, interrupted)
    assert [path.name for path in tmp_path.iterdir()] == [".my clip.annotated.parts"]
    annotation = annotate_file(clip, tmp_path, Settings(), fake_recognizer(), options=Options(mode="resume"))
    assert (annotation.frames, annotation.resumed) == (12, 3)


def test_failing_networks_leave_nothing(clip, tmp_path):
    with pytest.raises(RuntimeError, match="the networks failed"):
        annotate_file(clip, tmp_path, Settings(), fake_recognizer(breaks_at(5)))
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_a_file(clip, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        annotate_file(clip, tmp_path / "file", Settings(), fake_recognizer())


@pytest.mark.parametrize("content", [b"", b"junk" * 100, None])
def test_what_is_no_recording(content, tmp_path):
    video, output = tmp_path / "x.mp4", tmp_path / "out"
    if content is not None:
        video.write_bytes(content)
    with pytest.raises(SourceError, match=r"x\.mp4"):
        annotate_file(video, output, Settings(), fake_recognizer())
    assert not output.exists()


def test_a_recording_that_ends_early_keeps_what_there_was(clip, tmp_path):
    whole, half = tmp_path / "whole.mp4", tmp_path / "half.mp4"
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 256, (90, 160, 3), dtype=np.uint8) for _ in PTS]
    encode(whole, pictures, movflags="faststart")
    data = whole.read_bytes()
    half.write_bytes(data[: int(len(data) * 0.7)])
    annotation = annotate_file(half, tmp_path / "out", Settings(), fake_recognizer())
    assert 0 < annotation.frames < 12
    assert annotation.problem is not None
    assert len(annotation.files) == 3


def test_file_names_that_look_like_other_addresses(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0").write_bytes(clip.read_bytes())
    (video,) = find_videos([tmp_path.joinpath("0").relative_to(tmp_path)])
    assert annotate_file(video, tmp_path / "out", Settings(), fake_recognizer()).frames == 12


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def test_folders_give_their_recordings_once_and_no_results(tmp_path):
    folder = touch(tmp_path / "f", "b.MP4", "a.mkv", "a.annotated.mp4", "notes.txt", ".hidden.mp4")
    assert find_videos([folder, folder / "a.mkv"]) == [folder / "a.mkv", folder / "b.MP4"]


def test_equal_stems_are_refused(tmp_path):
    folder = touch(tmp_path / "f", "a.mp4", "A.mkv")
    with pytest.raises(UserError, match="would both become"):
        find_videos([folder])


def test_folder_without_recordings(tmp_path):
    with pytest.raises(UserError, match="holds no recordings"):
        find_videos([touch(tmp_path / "f", "notes.txt")])


@pytest.fixture
def command(monkeypatch):
    """Calls the command with the fake networks; gives its exit code, stdout and stderr."""
    monkeypatch.setattr("streamer.app.recognizer_for", lambda model, lanes=1: fake_recognizer())
    app = typer.Typer()
    app.command()(annotate)

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return result.exit_code, result.stdout, result.stderr

    return call


def test_command_prints_results_on_stdout(command, clip, tmp_path):
    code, out, err = command(clip, "-o", tmp_path, "--jobs", 1)
    assert code == 0, err
    assert out.splitlines() == [
        str(tmp_path / f"my clip.{e}") for e in ("annotated.mp4", "labels.jsonl", "timeline.json")
    ]


def test_command_goes_on_after_a_failure_and_reports_it(command, clip, tmp_path):
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"junk")
    code, out, err = command(junk, clip, tmp_path / "missing.mp4", "-o", tmp_path / "out", "--json", "--jobs", 1)
    reports = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [report["frames"] for report in reports] == [0, 12, 0]
    assert [bool(report["problem"]) for report in reports] == [True, False, True]
    assert "junk.mp4" in err and "missing.mp4" in err and "2 of 3 recordings had problems" in err
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_sinks_exist():
    assert set(SINK_NAMES) <= set(SINKS.names())
