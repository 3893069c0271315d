"""How fast `annotate` is: a recording to an annotated video, its labels and its timeline, all of it written."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from config.errors import UserError
from config.schema import Settings
from models.recognizer import Recognizer
from tools.annotate import annotate_file
from tools.benchmark.figures import Spread, spread


@dataclass(frozen=True, slots=True)
class Annotating:
    """Frames a second, from the first frame done to the last file closed, and CPU time a frame."""

    frames: int
    fps: Spread
    cpu_ms_per_frame: Spread


def measure_annotating(uri: str, settings: Settings, recognizer: Recognizer, repeats: int) -> Annotating:
    """Annotate a recording `repeats` times.

    Raises:
        UserError: it is no file, cannot be read, or has a frame at most.
    """
    done = [_once(Path(uri), settings, recognizer) for _ in range(repeats)]
    frames = done[0][0]
    return Annotating(frames, spread([fps for _, fps, _ in done]), spread([cpu_ms for _, _, cpu_ms in done]))


def _once(video: Path, settings: Settings, recognizer: Recognizer) -> tuple[int, float, float]:
    """Frames, frames a second, CPU milliseconds a frame."""
    began: list[tuple[float, float]] = []  # wall and CPU time at the first frame done

    def on_progress(done: int, _expected: int | None) -> None:
        if done == 1:
            began.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory(prefix="scene-streamer-") as folder:
        annotation = annotate_file(video, Path(folder), settings, recognizer, on_progress)
        now_s, cpu_s = time.perf_counter(), time.process_time()
    if annotation.problem is not None or annotation.frames < 2:
        raise UserError(annotation.problem or f"{video} is too short to measure")
    frames = annotation.frames - 1
    return annotation.frames, frames / (now_s - began[0][0]), 1000 * (cpu_s - began[0][1]) / frames
