"""Several live streams in one run, and how many of them this machine carries."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from config.schema import Settings
from tools.benchmark.figures import Percentiles, percentiles
from tools.benchmark.running import LEAST_FRAMES, WARM_UP, Record, figures, follow
from tools.benchmark.search import largest

_log = logging.getLogger(__name__)

LEAST_SHARE = 0.95
"""Of a live stream's frames; with fewer of them labelled it is not carried, however fresh those are."""
TRIAL_S = 10.0
"""Seconds of each stream in a trial."""

_MOST_STREAMS = 256


@dataclass(frozen=True, slots=True)
class Streams:
    """So many copies of a source, each at its own speed, with the freshest frame always.

    Attributes:
        streams: how many.
        fps: of the source.
        slowest_fps: labels a second of the stream that got the fewest; 0 if one got too few to measure.
        latency_ms: capture to publish, all streams together; None likewise, as what follows.
        dropped: frames that the networks could not take.
        cpu_cores: CPU seconds a second.
        peak_mb: the most memory.
    """

    streams: int
    fps: float
    slowest_fps: float
    latency_ms: Percentiles | None
    dropped: int | None
    cpu_cores: float | None
    peak_mb: float | None

    def carried(self, p95_ms: float) -> bool:
        """Whether every stream is labelled, and soon enough."""
        fresh = self.latency_ms is not None and self.latency_ms.p95 <= p95_ms
        return fresh and self.slowest_fps >= LEAST_SHARE * self.fps


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most streams that were carried, and every trial on the way there.

    Attributes:
        streams: 0 if not even one was.
        p95_ms: what the 95th percentile of the latency had to stay under.
        least_share: of each stream's frames had to be labelled.
        trials: in their order.
    """

    streams: int
    p95_ms: float
    least_share: float
    trials: list[Streams]


def measure_streams(uri: str, streams: int, fps: float, settings: Settings) -> Streams:
    """Run on `streams` copies of a recording of `fps` frames a second.

    Raises:
        UserError: the run failed; its own words.
    """
    capture = settings.capture.model_copy(update={"policy": "latest", "realtime": True})
    names = [f"live{number}" for number in range(streams)]
    record = follow([uri] * streams, names, settings.model_copy(update={"capture": capture}))
    if record.shortest() < LEAST_FRAMES:
        return Streams(streams, round(fps, 3), 0.0, None, None, None, None)
    run = figures(record)
    return Streams(
        streams,
        round(fps, 3),
        round(min(_rates(record)), 2),
        percentiles(record.ages_ms()),
        run.dropped,
        run.cpu_cores,
        run.peak_mb,
    )


def _rates(record: Record) -> list[float]:
    """Labels a second of each stream, behind its warm-up."""
    return [
        (len(labels) - WARM_UP - 1) / ((labels[-1].published_ns - labels[WARM_UP].published_ns) / 1e9)
        for labels in record.by_source().values()
    ]


def find_capacity(uri: str, fps: float, p95_ms: float, settings: Settings) -> Capacity:
    """How many copies of a recording are carried live.

    Args:
        uri: a recording of `TRIAL_S` seconds or more.
        fps: its frame rate.
        p95_ms: limit of the 95th percentile of the time from capture to publish, in milliseconds.
        settings: model, smoothing.

    Raises:
        UserError: a run failed; its own words.
    """
    trials: list[Streams] = []

    def holds(streams: int) -> bool:
        trial = measure_streams(uri, streams, fps, settings)
        trials.append(trial)
        _log.info("%d streams: %s", streams, "carried" if trial.carried(p95_ms) else "too many")
        return trial.carried(p95_ms)

    return Capacity(largest(holds, _MOST_STREAMS), p95_ms, LEAST_SHARE, trials)
