"""The benchmark command on a small clip: the report's structure and what must hold of any machine, never its speed."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import pytest

from config.errors import UserError
from config.schema import Settings
from streamer.errors import OutputError, SourceError
from tools.benchmark.clip import make_clip
from tools.benchmark.measure import Plan, measure
from tools.benchmark.running import follow
from tools.benchmark.streams import find_capacity, measure_streams
from tools.benchmark.table import lines

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 30


@pytest.fixture(autouse=True)
def children_import_what_we_import(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Thirty frames of the test pattern at 10 fps."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    make_clip(f"synthetic:?frames={FRAMES}&width=160&height=96", path, fps=Fraction(10))
    return path


def times(clip: Path) -> tuple[list[Fraction], set[tuple[int, int]]]:
    """Seconds of each frame, and the sizes that there are."""
    with av.open(str(clip)) as container:
        frames = list(container.decode(video=0))
    return [frame.pts * frame.time_base for frame in frames], {(frame.width, frame.height) for frame in frames}


# ------------------------------------------------------------------ clips


def test_a_clip_has_the_size_and_the_rate_that_were_asked_for(clip, tmp_path):
    seconds, sizes = times(clip)
    assert seconds == [Fraction(i, 10) for i in range(FRAMES)]
    assert sizes == {(160, 96)}
    make_clip(str(clip), tmp_path / "large.mp4", size=(320, 200))
    seconds, sizes = times(tmp_path / "large.mp4")
    assert seconds == [Fraction(i, 10) for i in range(FRAMES)]
    assert sizes == {(320, 200)}


@pytest.mark.parametrize(("frames", "expected"), [(12, 12), (FRAMES, FRAMES), (70, 90)])
def test_a_clip_is_repeated_until_it_is_long_enough(frames, expected, clip, tmp_path):
    target = tmp_path / "long.mp4"
    make_clip(str(clip), target, fps=Fraction(25), frames=frames)
    seconds, _ = times(target)
    assert seconds == [Fraction(i, 25) for i in range(expected)]
    assert list(tmp_path.iterdir()) == [target]


def test_clips_that_cannot_be_made_are_named(clip, tmp_path):
    with pytest.raises(SourceError, match=r"missing\.mp4"):
        make_clip(str(tmp_path / "missing.mp4"), tmp_path / "x.mp4")
    with pytest.raises(OutputError, match="no/such"):
        make_clip(str(clip), tmp_path / "no/such/x.mp4")


# ------------------------------------------------------------------ the whole


def test_a_benchmark_reports_every_part(clip):
    plan = Plan(str(clip), Settings(), frames=20, repeats=2, frames_subscriber=True, annotate=True)
    report = measure(plan)
    found = json.loads(json.dumps(report.as_dict()))
    assert found["schema"] == 1
    assert found["machine"].keys() >= {"processor", "cores", "python", "openvino", "load_1_min"}
    assert found["source"] | {"uri": ""} == {"uri": "", "width": 160, "height": 96, "fps": 10, "frames": FRAMES}
    assert found["model"].keys() == {"name", "sha256", "engine", "device", "segmenter"}
    assert list(found["stages"]) == ["decode", "preprocess", "networks", "smooth", "publish", "annotate", "JPEG"]
    assert all(0 < stage["ms"] <= stage["p95_ms"] for stage in found["stages"].values())
    run = found["run"]
    assert (run["repeats"], run["frames"], run["dropped"]) == (2, FRAMES, 0)
    assert 0 < run["p50_ms"]["median"] <= run["p95_ms"]["median"] <= run["p99_ms"]["median"]
    assert 0.3 < run["first_label_s"]["low"] < 60
    assert 50 < run["memory_mb"]["median"] <= run["peak_mb"]["high"] < 4000
    assert run["annotated_fps"]["median"] > 0
    assert found["annotate"]["frames"] == FRAMES
    for rate in (run["fps"], found["model_only"]["fps"], found["annotate"]["fps"]):
        assert 0 < rate["low"] <= rate["median"] <= rate["high"]
    efficiency = found["efficiency"]
    drawn = sum(stage["cpu_ms"] for stage in found["stages"].values())
    assert efficiency["cpu_ms_per_frame"] == pytest.approx(drawn, abs=0.02)
    assert efficiency["percent"] == pytest.approx(100 * run["fps"]["median"] / efficiency["bound_fps"], rel=0.02)
    assert "baseline" not in found
    table = "\n".join(lines(report))
    assert all(word in table for word in ("decode", "publish, p95", "annotated frames", "networks alone", "annotate"))


def test_live_copies_keep_their_pace(clip):
    found = measure_streams(str(clip), 2, 10, Settings())
    assert found.streams == 2
    assert 0 < found.slowest_fps < 12
    assert found.latency_ms is not None


def test_a_capacity_of_nothing_is_found_too(clip):
    found = find_capacity(str(clip), 10, 0.01, Settings())
    assert found.streams == 0
    assert [trial.streams for trial in found.trials] == [1]


# ------------------------------------------------------------------ failures


def test_a_run_that_fails_does_so_in_its_own_words(tmp_path):
    cut = tmp_path / "cut.mp4"
    make_clip("synthetic:?frames=60&width=160&height=96", cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    with pytest.raises(UserError, match=r"cut\.mp4"):
        follow([str(cut)], [], Settings())


@pytest.mark.parametrize(
    ("uri", "hint"),
    [("no/such.mp4", "no/such"), ("synthetic:?frames=5", "too short"), ("synthetic:", "never ends")],
)
def test_sources_that_cannot_be_measured_are_named(uri, hint):
    with pytest.raises(UserError, match=hint):
        measure(Plan(uri, Settings(), frames=12, repeats=1))


def command(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tools.cli", "benchmark", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--resize", "720p"],
        ["--fps", "0"],
        ["--stem", "--model", "scene18"],
        ["--frames", "3"],
    ],
)
def test_wrong_use(arguments, clip):
    with command("--source", clip, *arguments) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err


def test_a_report_that_cannot_be_written_shows_before_anything_is_measured(clip):
    with command("--source", clip, "--output", clip / "report.json") as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "report.json" in err
    assert "stages" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_leaves_no_process_and_no_file(number, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with command("--source", "synthetic:?frames=100000", "--frames", "12", "--repeats", "1") as process:
        try:
            run = wait_for_the_run(process.pid)
            process.send_signal(number)
            process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert not run.exists()


def wait_for_the_run(pid: int) -> Path:
    """The folder in /proc of the run that the benchmark starts; libraries start processes too, for a moment."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for command_line in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # processes come and go
                parent = (command_line.parent / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == pid and "\0run\0" in command_line.read_text():
                    return command_line.parent
        time.sleep(0.1)
    raise AssertionError("no run was started")
