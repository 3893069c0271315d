"""How long each stage of a frame's way takes, and how many frames a second the whole pipeline makes of it.

The stages are timed one after the other in one thread; the pipeline overlaps them, so its rate is not their sum.
"""

from __future__ import annotations

import os
import platform
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from config.schema import Settings
from models.prediction import Prediction
from models.recognizer import JointRecognizer, Recognizer
from models.staged import StagedRecognizer
from streamer.address import open_source
from streamer.annotator import jpeg
from streamer.app import recognizer_for, run
from streamer.frame import Frame, Picture
from streamer.message import encode, label_body
from streamer.overlay import Overlay
from streamer.state import Drops, SceneState
from streamer.track import Track

_WARM_UP = 10


@dataclass
class Stopwatch:
    """Durations in milliseconds, by stage."""

    stages: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what stands inside."""
        began = time.perf_counter()
        yield
        self.stages.setdefault(stage, []).append(1000 * (time.perf_counter() - began))

    def medians(self) -> dict[str, float]:
        """Median of each stage, the first frames left out."""
        return {name: round(statistics.median(times[_WARM_UP:]), 3) for name, times in self.stages.items()}


def measure(uri: str, settings: Settings, frames: int) -> dict[str, Any]:
    """Stage times over the first `frames` of a recording, and the rate of a whole `run` over all of it.

    Raises:
        SourceError: the source cannot be opened, or is shorter than the warm-up.
    """
    return {
        "machine": machine(),
        "source": uri,
        "model": settings.model.name,
        "stage_ms": stage_times(uri, settings, frames),
        "run": run_rate(uri, settings),
    }


def stage_times(uri: str, settings: Settings, frames: int) -> dict[str, float]:
    """Median milliseconds of each stage, one thread doing one after the other."""
    watch, recognizer, overlay = Stopwatch(), recognizer_for(settings.model), Overlay(settings.overlay)
    track = Track(recognizer, settings)
    with open_source(uri, None, settings.capture) as source:
        source.open()
        shots = source.frames()
        for _ in range(frames):
            with watch("decode"):
                frame: Frame | None = next(shots, None)
            if frame is None:
                break
            prediction = _predict(recognizer, frame.image, watch)
            with watch("smooth and cuts"):
                state: SceneState = track.advance(frame, prediction, Drops())
            with watch("label message"):
                encode(label_body(state, run="benchmark", t_publish_ns=time.time_ns()), "msgpack")
            with watch("annotate"):
                picture = overlay.draw(state)
            with watch("JPEG"):
                jpeg(picture, settings.overlay.jpeg_quality)
    return watch.medians()


def _predict(recognizer: Recognizer, picture: Picture, watch: Stopwatch) -> Prediction:
    """What the recognizer says of a picture, each of its stages timed."""
    if isinstance(recognizer, JointRecognizer):
        with watch("preprocess"):
            small = recognizer.package.preprocess.squash(picture)
        with watch("networks"):
            recognizer.backend.infer(small[None])
        return recognizer.predict(picture)
    assert isinstance(recognizer, StagedRecognizer)
    shrunk = recognizer.shrunk(picture)
    with watch("segment"):
        semantics = recognizer.encode(shrunk)
    with watch("crop and name"):
        return recognizer.classify(shrunk, semantics)


def run_rate(uri: str, settings: Settings) -> dict[str, float]:
    """Frames per second of a whole run, from the first state to the last, with labels bound and nobody listening."""
    times: list[float] = []
    quiet = settings.model_copy(update={"bus": settings.bus.model_copy(update={"labels": "tcp://127.0.0.1:*"})})
    cpu = time.process_time()
    run(
        [uri],
        [],
        quiet,
        interrupted=threading.Event(),
        observe=lambda item: times.append(time.perf_counter()) if isinstance(item, SceneState) else None,
    )
    seconds = times[-1] - times[0]
    return {
        "frames": len(times),
        "seconds": round(seconds, 2),
        "fps": round((len(times) - 1) / seconds, 1),
        "cpu_s": round(time.process_time() - cpu, 2),
    }


def machine() -> dict[str, Any]:
    """What the figures were had on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    libraries = ("scene-streamer", "openvino", "av", "numpy", "opencv-python-headless")
    versions = {name: version(name) for name in libraries}
    return {"processor": _processor(), "cores": cores, "python": platform.python_version(), **versions}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - streams, one line of it is read
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
