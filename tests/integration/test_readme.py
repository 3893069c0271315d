"""The commands of README work as they stand there, on stand-ins for its files."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ scene-streamer (.*)$", README, re.MULTILINE)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Files of the names that README uses."""
    noise = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "kitchen.jpg"), noise)
    for name in ("highway.mp4", "bikes.mp4", "clip.mp4"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
            for i in range(10):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(noise, i, axis=1), format="rgb24")))
            container.mux(stream.encode(None))
    return tmp_path


def start(line: str, folder: Path) -> subprocess.Popen[str]:
    arguments = shlex.split(line.partition("|")[0])
    return subprocess.Popen(
        [sys.executable, "-m", "tools.cli", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def line_of(command: str) -> str:
    return next(line for line in COMMANDS if line.startswith(command))


def test_a_run_and_its_watcher(folder):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    watcher = start(line_of("watch").replace("tcp://127.0.0.1:5555", address), folder)
    runner = start(f"{line_of('run')} --labels {address}", folder)
    assert "highway" in finish(runner)
    assert "ended (end)" in finish(watcher)


def test_annotate(folder):
    for path in finish(start(line_of("annotate"), folder)).split():
        assert (folder / path).is_file()


def test_classify(folder):
    assert finish(start(line_of("classify"), folder)).startswith("kitchen.jpg")


def test_the_loop_over_a_stream(folder):
    block = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "open_stream" in block)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", block], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 10


def test_every_command_is_in_the_table():
    from tools.commands import _COMMANDS

    assert set(re.findall(r"^\| `([a-z]+)` \|", README, re.MULTILINE)) == set(_COMMANDS)
