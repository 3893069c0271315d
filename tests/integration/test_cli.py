"""The command line as a user types it: exit codes, one clear line for every mistake, clean ends on signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
VIDEOS = ROOT.parent / "shared" / "data" / "videos"
FREE = ["--labels", "tcp://127.0.0.1:*"]
DEADLINE_S = 5.0


STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def no_process_is_left():
    """A test that fails half-way leaves nothing running that would slow down the others."""
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


def start(*arguments: str, cwd: Path | None = None, **options) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.cli", *map(str, arguments)],
        cwd=cwd or ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    STARTED.append(process)
    return process


def call(*arguments: str, cwd: Path | None = None) -> tuple[int, str, str]:
    process = start(*arguments, cwd=cwd)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Forty frames of a moving pattern, variable in rate, as H.264 in MP4."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        noise = np.random.default_rng(0).integers(0, 255, (180, 320, 3), dtype=np.uint8)
        for i in range(40):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, 4 * i, axis=1), format="rgb24")
            frame.pts = i + i // 10
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# ------------------------------------------------------------------ mistakes


def one_line(err: str) -> str:
    """The line that names the mistake; there is just one, and no traceback."""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("scene-streamer:")]
    assert len(lines) == 1, err
    return lines[0]


def mistakes(tmp_path: Path, clip: Path) -> dict[str, tuple[list[str], int, str]]:
    text = tmp_path / "text.mp4"
    text.write_text("this is no video\n" * 100)
    truncated = tmp_path / "truncated.mp4"
    truncated.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    typo = tmp_path / "typo.yaml"
    typo.write_text("capture:\n  polcy: every\n")
    broken = tmp_path / "broken.yaml"
    broken.write_text("capture: [unclosed\n")
    source = ["run", *FREE, "--source", str(clip)]
    return {
        "wrong path": (["run", *FREE, "--source", "/no/such/clip.mp4"], 1, "/no/such/clip.mp4"),
        "text as mp4": (["run", *FREE, "--source", str(text)], 1, "text.mp4"),
        "truncated": (["run", *FREE, "--source", str(truncated)], 1, "truncated.mp4"),
        "unknown preset": ([*source, "--config", "no_preset"], 2, "webcam"),
        "unknown key": ([*source, "--set", "capture.polcy=every"], 2, "capture.policy"),
        "wrong value": ([*source, "--policy", "newest"], 2, "latest"),
        "unknown segmenter": ([*source, "--set", "model.segmenter=no_such"], 2, "lite_fpn"),
        "unknown backend": ([*source, "--backend", "no_such"], 2, "openvino"),
        "unknown smoother": ([*source, "--set", "smoother=no_such"], 2, "exponential"),
        "unknown model": ([*source, "--set", "model=no_such"], 1, "scene18"),
        "unknown device": ([*source, "--device", "NPU7"], 1, "CPU"),
        "YAML typo": ([*source, "--config", str(typo)], 2, "typo.yaml"),
        "broken YAML": ([*source, "--config", str(broken)], 2, "broken.yaml"),
        "public address": (["run", "--source", str(clip), "--labels", "tcp://0.0.0.0:5999"], 1, "127.0.0.1"),
        "two of a name": ([*source, "--source", str(clip)], 1, "--name"),
        "wrong picture": (["classify", "/no/such/picture.jpg"], 1, "picture.jpg"),
        "model of info": (["models", "info", "no_such"], 1, "scene18"),
        "model of pull": (["models", "pull", "no_such"], 2, "upernet_r50"),
        "mirror of pull": (["models", "pull", "semantic-mit67", "--mirror", "no.example"], 2, "https://mirror.example"),
        "data set": (["datasets", "verify", "no_such", "--root", "."], 2, "places365"),
        "root of a data set": (["datasets", "verify", "mit67", "--root", "/no/such"], 1, "/no/such"),
    }


KINDS = list(mistakes(Path("/tmp"), Path(__file__)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mistake_is_one_clear_line(kind, tmp_path, clip):
    arguments, code, hint = mistakes(tmp_path, clip)[kind]
    found, _, err = call(*arguments)
    assert hint in one_line(err)
    assert found == code


def test_a_port_in_use_is_one_clear_line(clip):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        code, _, err = call("run", "--source", clip, "--labels", address)
    assert code == 1
    assert address.rpartition(":")[2] in one_line(err)
    assert "--labels" in one_line(err)


@pytest.mark.parametrize("arguments", [["run"], ["no-such-command"], ["run", "--no-such-option"], []])
def test_wrong_use_exits_with_2(arguments):
    code, _, err = call(*arguments)
    assert code == 2
    assert "Traceback" not in err


COMMANDS = (
    *("run", "demo", "watch", "annotate", "classify", "evaluate", "train", "benchmark"),
    *("models list", "models info", "models pull", "doctor"),
    *("datasets list", "datasets pull", "datasets verify", "datasets duplicates", "datasets unknowns"),
    *("rules check", "rules test", "walkthrough make", "walkthrough measure"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_verbosity(command):
    code, out, _ = call(*command.split(), "--help")
    assert code == 0
    assert "--verbose" in out


# --------------------------------------------------------------- the main job


def follow(source: Path, *, extra: tuple[str, ...] = ()) -> list[dict]:
    """Run on `source` with `watch --json` in another process that subscribed first; all its messages."""
    address = free_address()
    watcher = start("watch", address, "--json")
    runner = start(
        "run", "--source", source, "--policy", "every", "--labels", address, "--wait-subscriber", "20", *extra
    )
    out, _ = watcher.communicate(timeout=160)
    _, err = runner.communicate(timeout=30)
    assert runner.returncode == 0, err
    assert watcher.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def decoded_pts(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0)]


def check_labels(messages: list[dict], path: Path) -> list[dict]:
    labels = [m["body"] for m in messages if m["topic"].startswith("L/")]
    assert [label["pts"] for label in labels] == decoded_pts(path)
    assert [label["seq"] for label in labels] == list(range(len(labels)))
    assert messages[-1]["body"]["type"] == "bye"
    return labels


def test_a_watcher_gets_every_label_and_bye(clip):
    labels = check_labels(follow(clip), clip)
    assert labels[0]["source"] == "clip"
    assert {"stable", "raw", "smoothed", "semantic", "groups", "model", "drops"} <= labels[0].keys()


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs the clips of ../shared/data/videos")
def test_the_highway_clip_is_a_highway():
    path = VIDEOS / "udacity_solidWhiteRight.mp4"
    labels = check_labels(follow(path), path)
    highway = [label["stable"]["scene"] == "highway" for label in labels]
    assert sum(highway) >= 0.9 * len(highway)


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs the clips of ../shared/data/videos")
@pytest.mark.parametrize("name", ["intel_one-by-one-person-detection", "roboflow_inference_example_video"])
def test_every_frame_of_a_real_clip_has_its_label(name):
    path = VIDEOS / f"{name}.mp4"
    check_labels(follow(path), path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_time(number):
    runner = start("run", "--source", "synthetic:?realtime=1", *FREE)
    assert "labels on" in runner.stderr.readline()
    time.sleep(1.5)
    sent = time.monotonic()
    runner.send_signal(number)
    _, err = runner.communicate(timeout=30)
    assert time.monotonic() - sent < DEADLINE_S
    assert runner.returncode == 130
    assert "Traceback" not in err


def test_a_subscriber_that_is_killed_disturbs_nobody(clip):
    address = free_address()
    victim = start("watch", address, "--json")
    runner = start(
        "run", "--source", "synthetic:?frames=150&fps=50&realtime=1", "--labels", address, "--wait-subscriber", "20"
    )
    assert victim.stdout.readline()
    victim.kill()
    victim.communicate()
    survivor = start("watch", address, "--json")
    out, _ = survivor.communicate(timeout=60)
    runner.communicate(timeout=30)
    assert runner.returncode == 0
    assert json.loads(out.splitlines()[-1])["body"]["type"] == "bye"


def test_a_reader_that_leaves_ends_the_run_quietly():
    with start("run", "--source", "synthetic:?frames=100000", *FREE) as runner:
        runner.stdout.close()
        err = runner.stderr.read()
        runner.wait(30)
    assert "Traceback" not in err
    assert "scene-streamer:" not in err


def test_the_first_label_comes_within_four_seconds(clip):
    address = free_address()
    watcher = start("watch", address, "--json")
    time.sleep(1.5)  # the watcher's own start does not count
    began = time.monotonic()
    runner = start("run", "--source", clip, "--labels", address, "--wait-subscriber", "5")
    for line in watcher.stdout:
        if json.loads(line)["topic"].startswith("L/"):
            break
    assert time.monotonic() - began < 4.0
    runner.communicate(timeout=30)
    watcher.kill()
    watcher.communicate()


# -------------------------------------------------------------- other commands


def test_classify_names_scene_and_classes(tmp_path):
    picture = tmp_path / "grey.png"
    cv2.imwrite(str(picture), np.full((40, 60, 3), 128, np.uint8))
    code, out, _ = call("classify", picture, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["path"] == str(picture)
    assert len(report["top"]) == 5
    assert sum(p for _, p in report["top"]) <= 1.001


def test_models_list_and_info_agree():
    _, listed, _ = call("models", "list", "--json")
    _, info, _ = call("models", "info", "scene18", "--json")
    assert json.loads(info) in json.loads(listed)


def test_benchmark_times_every_stage(clip):
    code, out, _ = call("benchmark", "--source", clip, "--frames", "30", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["run"]["frames"] == 40
    assert {"decode", "preprocess", "networks", "annotate", "JPEG"} <= report["stage_ms"].keys()
    assert all(milliseconds > 0 for milliseconds in report["stage_ms"].values())


def test_doctor_finds_a_machine_that_works(tmp_path):
    code, out, _ = call("doctor", "--json", cwd=tmp_path)
    verdicts = {finding["what"]: finding["verdict"] for finding in json.loads(out)}
    assert code == 0
    assert verdicts["model"] == verdicts["backend openvino"] == "good"


def test_the_run_path_needs_no_torch():
    """The first label comes seconds earlier for it."""
    script = "import sys, models; models.load_recognizer(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_packages_of_the_same_name_elsewhere_are_named(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").touch()
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.path.insert(0, {str(tmp_path)!r}); "
    script += f"import importlib.util as u; s = u.spec_from_file_location('cli', {str(ROOT / 'tools' / 'cli.py')!r}); "
    script += "m = u.module_from_spec(s); s.loader.exec_module(m); m.main()"
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "virtual environment of its own" in one_line(result.stderr)


def test_benchmark_of_the_stem_compares_the_same_result():
    code, out, _ = call("benchmark", "--stem", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["largest_difference"] < 1e-4
    assert all(milliseconds > 0 for milliseconds in report["ms_a_picture"].values())


def test_benchmark_wants_a_recording_or_the_stem():
    code, _, err = call("benchmark")
    assert code == 2
    assert "--source" in err
    assert "--stem" in err
