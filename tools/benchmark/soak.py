"""A run of many frames: whether its memory grows, and whether its labels get older the longer it runs."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from config.errors import UserError
from config.schema import Settings
from tools.benchmark.figures import Percentiles, percentiles, slope
from tools.benchmark.running import Record, figures, follow

WARM_UP = 500
"""Frames before the memory counts: until then buffers of libraries fill."""

_LEAST_SAMPLES = 10
_LEAST_LABELS = 2  # one in each half


@dataclass(frozen=True, slots=True)
class Soak:
    """A long run, without its warm-up.

    Attributes:
        frames: of the source, behind the warm-up, labelled or dropped.
        labels: of them.
        dropped: frames that the networks could not take, in all of the run.
        fps: labels a second.
        memory_mb: resident at the end, the mean of the last tenth of the samples.
        growth_mb: of that over the mean of the first tenth.
        mb_per_1000_frames: slope of the line of least squares through all samples.
        first_half_ms, second_half_ms: capture to publish.
    """

    frames: int
    labels: int
    dropped: int
    fps: float
    memory_mb: float
    growth_mb: float
    mb_per_1000_frames: float
    first_half_ms: Percentiles
    second_half_ms: Percentiles


def measure_soak(uri: str, frames: int, settings: Settings) -> Soak:
    """Run over `frames` frames of a source and the warm-up before them.

    Raises:
        UserError: the run failed, or was too short, or this system tells no process's memory.
    """
    capture = settings.capture.model_copy(update={"max_frames": WARM_UP + frames})
    return soak_figures(follow([uri], [], settings.model_copy(update={"capture": capture})))


def soak_figures(record: Record) -> Soak:
    """What a long run was like.

    Raises:
        UserError: it was too short, or this system tells no process's memory.
    """
    points = [(record.labels[s.labels - 1].frame_id, s.usage.memory_mb) for s in record.samples if s.labels > 0]
    points = [(frame, megabytes) for frame, megabytes in points if frame >= WARM_UP]
    labels = [label for label in record.labels if label.frame_id >= WARM_UP]
    if len(points) < _LEAST_SAMPLES or len(labels) < _LEAST_LABELS:
        raise UserError(
            f"{len(labels)} labels and {len(points)} looks at the memory behind frame {WARM_UP} are too few to tell "
            "its growth: let --soak have more frames (and the system needs /proc)"
        )
    tenth = len(points) // 10
    begins, ends = _mean_mb(points[:tenth]), _mean_mb(points[-tenth:])
    ages = [(label.published_ns - label.captured_ns) / 1e6 for label in labels]
    half = len(ages) // 2
    run = figures(record)
    return Soak(
        frames=labels[-1].frame_id + 1 - WARM_UP,
        labels=len(labels),
        dropped=run.dropped,
        fps=run.fps,
        memory_mb=round(ends, 1),
        growth_mb=round(ends - begins, 2),
        mb_per_1000_frames=round(slope([(frame / 1000, megabytes) for frame, megabytes in points]), 3),
        first_half_ms=percentiles(ages[:half]),
        second_half_ms=percentiles(ages[half:]),
    )


def _mean_mb(points: list[tuple[int, float]]) -> float:
    return statistics.fmean(megabytes for _, megabytes in points)
