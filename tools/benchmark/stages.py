"""How long each stage of a frame's way takes, and what CPU time it needs, one after the other in one thread.

The pipeline overlaps them, so its rate is not their sum; but more than the cores divided by their CPU time it cannot
be. What calls the networks of a recognizer stage by stage is here alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import zmq

from config.errors import UserError
from config.schema import Settings
from models.prediction import Prediction
from models.recognizer import JointRecognizer, Recognizer
from models.staged import StagedRecognizer
from streamer.address import open_source
from streamer.annotator import jpeg
from streamer.binding import labels_socket
from streamer.frame import Frame, Picture
from streamer.link import Link, prefixes
from streamer.message import encode, label_body, label_topic
from streamer.overlay import Overlay
from streamer.sources.base import SourceInfo
from streamer.state import Drops, SceneState
from streamer.track import Track

_WARM_UP = 10
_KEPT_PICTURES = 16
NETWORK_STAGES = ("preprocess", "networks", "segment and encode", "classify")
"""What a recognizer does; a joint model has the first two, a staged one the others."""
DRAWING_STAGES = ("annotate", "JPEG")
"""What a run does only while somebody subscribes to annotated frames."""


@dataclass(frozen=True, slots=True)
class StageFigures:
    """Of one stage: median and 95th percentile of its duration, and its mean CPU time in all threads, a frame."""

    ms: float
    p95_ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class StagesFigures:
    """All stages of the way of one source's frames.

    Attributes:
        info: what the source says of itself.
        stages: by name, in their order.
        pictures: some of the frames, for what wants them in memory.
    """

    info: SourceInfo
    stages: dict[str, StageFigures]
    pictures: list[Picture]

    def cpu_ms(self, *, drawing: bool) -> float:
        """CPU milliseconds that a run needs for a frame, with or without annotated frames."""
        return sum(f.cpu_ms for name, f in self.stages.items() if drawing or name not in DRAWING_STAGES)

    def inference_ms(self) -> float:
        """How long the recognizer takes for a frame."""
        return sum(figures.ms for name, figures in self.stages.items() if name in NETWORK_STAGES)


@dataclass
class Stopwatch:
    """Durations and CPU times of the whole process in milliseconds, by stage."""

    wall: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what stands inside."""
        cpu_s, began_s = time.process_time(), time.perf_counter()
        yield
        self.wall.setdefault(stage, []).append(1000 * (time.perf_counter() - began_s))
        self.cpu.setdefault(stage, []).append(1000 * (time.process_time() - cpu_s))

    def figures(self) -> dict[str, StageFigures]:
        """Of each stage, the first frames left out."""
        return {
            name: StageFigures(
                ms=round(statistics.median(times[_WARM_UP:]), 3),
                p95_ms=round(sorted(times[_WARM_UP:])[int(0.95 * (len(times) - _WARM_UP))], 3),
                cpu_ms=round(statistics.fmean(self.cpu[name][_WARM_UP:]), 3),
            )
            for name, times in self.wall.items()
        }


def measure_stages(uri: str, settings: Settings, recognizer: Recognizer, frames: int) -> StagesFigures:
    """Time the stages over the first `frames` frames of a source.

    Raises:
        SourceError: the source cannot be opened or read.
        UserError: it is shorter than the warm-up.
    """
    watch, pictures = Stopwatch(), []
    track, overlay = Track(recognizer, settings), Overlay(settings.overlay)
    with ExitStack() as stack:
        send = stack.enter_context(_sender())
        source = stack.enter_context(open_source(uri, None, settings.capture))
        info = source.open()
        shots = source.frames()
        for number in range(min(frames, settings.capture.max_frames or frames)):
            with watch("decode"):
                frame: Frame | None = next(shots, None)
            if frame is None:
                break
            if number < _KEPT_PICTURES:
                pictures.append(frame.image)
            prediction = _predict(recognizer, frame.image, watch)
            with watch("smooth"):
                state: SceneState = track.advance(frame, prediction, Drops())
            with watch("publish"):
                send(state)
            with watch("annotate"):
                picture = overlay.draw(state)
            with watch("JPEG"):
                jpeg(picture, settings.overlay.jpeg_quality)
    if len(watch.wall.get("JPEG", ())) <= _WARM_UP:
        raise UserError(f"{info.uri} is too short: the stages need more than the {_WARM_UP} frames that warm them up")
    return StagesFigures(info, watch.figures(), pictures)


@contextmanager
def _sender() -> Iterator[Callable[[SceneState], None]]:
    """Makes a state a message and sends it to a subscriber on this machine."""
    with zmq.Context() as context:
        socket = labels_socket(context, "tcp://127.0.0.1:*", lossless=False)
        link = Link(socket.getsockopt_string(zmq.LAST_ENDPOINT), prefixes(("L",), None), 1, 1 << 20, None)
        try:
            socket.recv()  # the subscription

            def send(state: SceneState) -> None:
                body = label_body(state, run="benchmark", t_publish_ns=time.time_ns())
                socket.send_multipart([label_topic(state.source), encode(body, "msgpack")])

            yield send
        finally:
            link.close()
            socket.close(linger=0)


def _predict(recognizer: Recognizer, picture: Picture, watch: Stopwatch) -> Prediction:
    """What the recognizer says of a picture, each of its stages timed."""
    if recognizer.resizes_on == "device":
        return _predict_on_device(recognizer, picture, watch)
    if isinstance(recognizer, JointRecognizer):
        with watch("preprocess"):
            ready = prepare(recognizer, picture)
        with watch("networks"):
            run_networks(recognizer, ready)
        return recognizer.predict(picture)
    assert isinstance(recognizer, StagedRecognizer)
    shrunk = recognizer.shrunk(picture)
    with watch("segment and encode"):
        semantics = recognizer.encode(shrunk)
    with watch("classify"):
        return recognizer.classify(shrunk, semantics)


def _predict_on_device(recognizer: Recognizer, picture: Picture, watch: Stopwatch) -> Prediction:
    """The same where frames go up as they are: each stage begins and ends on the device."""
    if isinstance(recognizer, JointRecognizer):
        with watch("networks"):
            return recognizer.predict(picture)
    with watch("segment and encode"):
        segmentation = recognizer.segment(picture)
    with watch("classify"):
        return recognizer.predict_with(picture, segmentation)


def prepare(recognizer: Recognizer, picture: Picture) -> Any:
    """What `run_networks` takes of a picture."""
    if recognizer.resizes_on == "device":
        return picture
    if isinstance(recognizer, JointRecognizer):
        return recognizer.package.preprocess.squash(picture)[None]
    assert isinstance(recognizer, StagedRecognizer)
    return recognizer.shrunk(picture)


def run_networks(recognizer: Recognizer, ready: Any) -> None:
    """The networks on a picture made ready. Those of a staged model, with what lies between and in front of them."""
    if recognizer.resizes_on == "device":
        recognizer.predict(ready)
        return
    if isinstance(recognizer, JointRecognizer):
        recognizer.backend.infer(ready)
        return
    assert isinstance(recognizer, StagedRecognizer)
    recognizer.classify(ready, recognizer.encode(ready))
