"""The report of a benchmark: what `--json` prints. Keys are added, never changed, while `schema` stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tools.benchmark.annotating import Annotating
from tools.benchmark.baseline import Baseline
from tools.benchmark.figures import Spread, spread
from tools.benchmark.model_only import ModelOnly
from tools.benchmark.running import RunFigures
from tools.benchmark.soak import Soak
from tools.benchmark.stages import StageFigures
from tools.benchmark.streams import Capacity, Streams

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Runs:
    """Several runs on the same source, each figure with its spread; see `RunFigures`.

    Attributes:
        annotated_fps, annotated_p95_ms: of the annotated frames; None without a subscriber to them.
    """

    repeats: int
    frames: int
    dropped: int
    fps: Spread
    p50_ms: Spread
    p95_ms: Spread
    p99_ms: Spread
    first_label_s: Spread
    cpu_ms_per_frame: Spread | None
    cpu_cores: Spread | None
    memory_mb: Spread | None
    peak_mb: Spread | None
    annotated_fps: Spread | None
    annotated_p95_ms: Spread | None


def runs_of(runs: Sequence[RunFigures]) -> Runs:
    """The figures of one or more runs together."""
    frames = [run.annotated for run in runs if run.annotated is not None]
    return Runs(
        repeats=len(runs),
        frames=runs[0].frames,
        dropped=max(run.dropped for run in runs),
        fps=spread([run.fps for run in runs]),
        p50_ms=spread([run.latency_ms.p50 for run in runs]),
        p95_ms=spread([run.latency_ms.p95 for run in runs]),
        p99_ms=spread([run.latency_ms.p99 for run in runs]),
        first_label_s=spread([run.first_label_s for run in runs]),
        cpu_ms_per_frame=_known([run.cpu_ms_per_frame for run in runs]),
        cpu_cores=_known([run.cpu_cores for run in runs]),
        memory_mb=_known([run.memory_mb for run in runs]),
        peak_mb=_known([run.peak_mb for run in runs]),
        annotated_fps=_known([frame.fps for frame in frames]),
        annotated_p95_ms=_known([frame.latency_ms.p95 for frame in frames]),
    )


def _known(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return spread(known) if known else None


@dataclass(frozen=True, slots=True)
class Efficiency:
    """A run against what the machine could do at most.

    Attributes:
        cpu_ms_per_frame: CPU time that the stages need, one after the other in one thread.
        bound_fps: the cores over that.
        percent: the run's frames a second, of `bound_fps`.
        percent_of_model_only: likewise, of the networks alone.
    """

    cpu_ms_per_frame: float
    bound_fps: float
    percent: float
    percent_of_model_only: float


def efficiency_of(fps: float, cpu_ms: float, cores: int, model_only: ModelOnly) -> Efficiency:
    """A run of `fps` frames a second on `cores` cores, whose stages need `cpu_ms` of CPU time a frame."""
    bound = 1000 * cores / cpu_ms
    return Efficiency(
        cpu_ms_per_frame=round(cpu_ms, 2),
        bound_fps=round(bound, 2),
        percent=round(100 * fps / bound, 1),
        percent_of_model_only=round(100 * fps / model_only.fps.median, 1),
    )


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured in one go. What was not asked for is None, and absent from the JSON.

    Attributes:
        source: uri, width, height, fps, frames.
        model: name, engine, device, segmenter.
        stages: by name, in the order of a frame's way.
        age_limit_ms: for live pace, two inference times and one frame interval: what `soak`'s ages should stay under.
        ratios: to the baseline's frames a second: of the run, of annotated frames, of `annotate`.
    """

    machine: dict[str, Any]
    source: dict[str, Any]
    model: dict[str, Any]
    stages: dict[str, StageFigures]
    model_only: ModelOnly
    run: Runs
    efficiency: Efficiency
    annotate: Annotating | None = None
    streams: Streams | None = None
    capacity: Capacity | None = None
    soak: Soak | None = None
    age_limit_ms: float | None = None
    baseline: Baseline | None = None
    ratios: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = _without_none({"schema": SCHEMA} | asdict(self))
        return found


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
