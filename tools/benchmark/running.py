"""A whole `run` in a process of its own, seen by its subscribers: how fast, how fresh, at what cost."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from config.errors import UserError
from config.schema import Settings
from streamer.client import LabelSubscriber
from streamer.errors import MessageError
from streamer.link import Link, parse, prefixes
from streamer.message import Body
from streamer.worker import Worker
from tools.benchmark.figures import Percentiles, percentiles
from tools.benchmark.process import Command, Usage, started

WARM_UP = 10
"""Labels of each source that count for nothing."""
LEAST_FRAMES = WARM_UP + 2

_SAMPLE_S = 0.1  # between two looks at the process
_POLL_S = 0.2
_SILENCE_S = 120.0  # a run that says nothing for so long hangs
_WAIT_SUBSCRIBER_S = 20.0
_LARGEST_FRAME = 64 << 20


@dataclass(frozen=True, slots=True)
class LabelTimes:
    """When a frame was captured and its label published, in Unix nanoseconds, and what its source had lost by then."""

    source: str
    seq: int
    frame_id: int
    captured_ns: int
    published_ns: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at a moment, after so many labels of all sources together."""

    labels: int
    time_ns: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """An annotated frame that arrived: the label that belongs to it, and when it was published."""

    source: str
    label_seq: int
    published_ns: int


@dataclass
class Record:
    """All that was seen of a run on so many sources."""

    sources: int
    started_ns: int
    labels: list[LabelTimes] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    frames: list[FrameTimes] = field(default_factory=list)

    def by_source(self) -> dict[str, list[LabelTimes]]:
        """The labels of each source, in their order."""
        found: dict[str, list[LabelTimes]] = {}
        for label in self.labels:
            found.setdefault(label.source, []).append(label)
        return found

    def shortest(self) -> int:
        """How many labels the source with the fewest gave."""
        found = self.by_source()
        return 0 if len(found) < self.sources else min(map(len, found.values()))

    def ages_ms(self) -> list[float]:
        """Capture to publish of every label behind the warm-up."""
        return [
            (label.published_ns - label.captured_ns) / 1e6
            for labels in self.by_source().values()
            for label in labels[WARM_UP:]
        ]


@dataclass(frozen=True, slots=True)
class FrameFigures:
    """What a subscriber to annotated frames got.

    Attributes:
        frames: how many arrived.
        fps: frames per second.
        latency_ms: capture to publish.
    """

    frames: int
    fps: float
    latency_ms: Percentiles


@dataclass(frozen=True, slots=True)
class RunFigures:
    """One run, without its warm-up.

    Attributes:
        frames: labels, with the warm-up.
        fps: labels per second, of all sources together.
        latency_ms: capture to publish.
        dropped: frames that were lost on their way to the networks.
        first_label_s: from the start of the process.
        cpu_ms_per_frame: CPU time of the process; None where the system does not tell, as the three that follow.
        cpu_cores: CPU seconds per second.
        memory_mb: median of its resident memory.
        peak_mb: the most that it was, the loading of the model included.
        annotated: None without a subscriber to frames.
    """

    frames: int
    fps: float
    latency_ms: Percentiles
    dropped: int
    first_label_s: float
    cpu_ms_per_frame: float | None
    cpu_cores: float | None
    memory_mb: float | None
    peak_mb: float | None
    annotated: FrameFigures | None


def follow(uris: Sequence[str], names: Sequence[str], settings: Settings, *, frames: bool = False) -> Record:
    """Run on the sources to their end, and record what subscribers and the system see of it.

    Args:
        uris: addresses of the sources.
        names: none, or a name for each.
        settings: everything else; the addresses of the bus are chosen here.
        frames: whether somebody subscribes to annotated frames as well.

    Raises:
        UserError: the run failed; its own words.
    """
    with tempfile.TemporaryDirectory(prefix="scene-streamer-") as folder, ExitStack() as stack:
        settings = _on_bus(settings, Path(folder), frames=frames)
        labels = stack.enter_context(LabelSubscriber(settings.bus.labels, kinds=("L", "E")))
        watched: list[FrameTimes] = []
        if frames:
            stack.enter_context(_watching(settings.bus.frames, watched))
        record = Record(len(uris), time.time_ns(), frames=watched)
        command = stack.enter_context(started(_arguments(uris, names, settings, Path(folder)), Path(folder) / "log"))
        _listen(labels, command, record)
        command.check_end()
    return record


def _on_bus(settings: Settings, folder: Path, *, frames: bool) -> Settings:
    """Sockets as files of a folder: they collide with nothing."""
    addresses = {
        "labels": f"ipc://{folder}/labels",
        "frames": f"ipc://{folder}/frames" if frames else "off",
        "wait_subscriber_s": _WAIT_SUBSCRIBER_S,
    }
    return settings.model_copy(update={"bus": settings.bus.model_copy(update=addresses)})


def _arguments(uris: Sequence[str], names: Sequence[str], settings: Settings, folder: Path) -> list[str]:
    file = folder / "settings.yaml"
    file.write_text(settings.model_dump_json(), encoding="utf-8")  # JSON is YAML
    pairs = [("--source", uri) for uri in uris] + [("--name", name) for name in names]
    return ["run", "--config", str(file), *(word for pair in pairs for word in pair)]


def _listen(labels: LabelSubscriber, command: Command, record: Record) -> None:
    """Fill the record until every source has said goodbye."""
    sources = record.sources
    heard_s = sampled_s = time.monotonic()
    while sources > 0:
        message = labels.receive(_POLL_S)
        now_s = time.monotonic()
        if message is not None:
            heard_s = now_s
            if message.body["type"] == "label":
                record.labels.append(_times(message.body))
            sources -= message.body["type"] == "bye"
        elif not command.alive:
            raise UserError(command.complaint())
        elif now_s - heard_s > _SILENCE_S:
            raise UserError(f"the run under test said nothing for {_SILENCE_S:.0f} s")
        if now_s - sampled_s >= _SAMPLE_S or sources == 0:
            sampled_s = now_s
            usage = command.usage()
            if usage is not None:
                record.samples.append(Sample(len(record.labels), time.time_ns(), usage))


def _times(body: Body) -> LabelTimes:
    dropped = sum(body["drops"].values())
    return LabelTimes(
        body["source"], body["seq"], body["frame_id"], body["t_capture_ns"], body["t_publish_ns"], dropped
    )


@contextmanager
def _watching(address: str, found: list[FrameTimes]) -> Iterator[None]:
    """A thread that takes every annotated frame and decodes none: that would be the work of another machine."""
    link = Link(address, prefixes(("F",), None), 100, _LARGEST_FRAME, None)
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            parts = link.receive(time.monotonic() + _POLL_S)
            if parts is None:
                continue
            try:
                _, source, header = parse(parts)
            except MessageError:
                continue
            found.append(FrameTimes(source, header["label_seq"], header["t_publish_ns"]))

    worker = Worker("frame watcher", watch)
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()
        link.close()


def figures(record: Record) -> RunFigures:
    """What one run was like.

    Raises:
        UserError: a source gave too few labels to measure.
    """
    if record.shortest() < LEAST_FRAMES:
        raise UserError(
            f"a source gave {record.shortest()} labels and a benchmark needs {LEAST_FRAMES}, {WARM_UP} of them to warm "
            "up; give a longer recording, or allow more frames (capture.max_frames)"
        )
    labels = record.by_source()
    measured = [label for of_source in labels.values() for label in of_source[WARM_UP:]]
    published = sorted(label.published_ns for label in measured)
    seconds = (published[-1] - published[0]) / 1e9
    first_ns = min(label.published_ns for label in record.labels)
    cpu_ms, cores = _cpu(record, published[0])
    sizes = [sample.usage.memory_mb for sample in record.samples if sample.time_ns >= published[0]]
    return RunFigures(
        frames=len(record.labels),
        fps=round((len(measured) - 1) / seconds, 2),
        latency_ms=percentiles(record.ages_ms()),
        dropped=sum(of_source[-1].dropped for of_source in labels.values()),
        first_label_s=round((first_ns - record.started_ns) / 1e9, 2),
        cpu_ms_per_frame=cpu_ms,
        cpu_cores=cores,
        memory_mb=round(percentiles(sizes).p50, 1) if sizes else None,
        peak_mb=round(max(sample.usage.peak_mb for sample in record.samples), 1) if record.samples else None,
        annotated=_annotated(record, labels),
    )


def _cpu(record: Record, from_ns: int) -> tuple[float | None, float | None]:
    """CPU milliseconds a label and CPU seconds a second, between the first and the last sample behind `from_ns`."""
    samples = [sample for sample in record.samples if sample.time_ns >= from_ns]
    if len(samples) < 2 or samples[-1].labels == samples[0].labels:
        return None, None
    first, last = samples[0], samples[-1]
    used_s = last.usage.cpu_s - first.usage.cpu_s
    seconds = (last.time_ns - first.time_ns) / 1e9
    return round(1000 * used_s / (last.labels - first.labels), 2), round(used_s / seconds, 2)


def _annotated(record: Record, labels: dict[str, list[LabelTimes]]) -> FrameFigures | None:
    """Of the frames behind the warm-up, whose labels tell when they were captured."""
    captured_ns = {(label.source, label.seq): label.captured_ns for of_source in labels.values() for label in of_source}
    frames = [f for f in record.frames if f.label_seq >= WARM_UP and (f.source, f.label_seq) in captured_ns]
    if len(frames) < 2:
        return None
    ages = [(f.published_ns - captured_ns[f.source, f.label_seq]) / 1e6 for f in frames]
    seconds = (frames[-1].published_ns - frames[0].published_ns) / 1e9
    return FrameFigures(len(record.frames), round((len(frames) - 1) / seconds, 2), percentiles(ages))
