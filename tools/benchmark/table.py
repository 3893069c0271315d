"""The report of a benchmark for people."""

from __future__ import annotations

from collections.abc import Iterator

from tools.benchmark.figures import Percentiles, Spread
from tools.benchmark.report import Report, Runs
from tools.benchmark.soak import Soak
from tools.benchmark.stages import DRAWING_STAGES
from tools.benchmark.streams import Capacity, Streams

_WIDTH = 34


def lines(report: Report) -> Iterator[str]:
    """The report, a line at a time."""
    yield ", ".join(f"{key} {value}" for key, value in report.machine.items())
    source, model = report.source, report.model
    segmenter = f", segmenter {model['segmenter']}" if model["segmenter"] else ""
    yield f"{model['name']} on {model['engine']}, {model['device']}{segmenter}"
    yield f"{source['uri']}, {source['width']}x{source['height']}"
    yield from _stages(report)
    yield from _run(report.run)
    yield from _bounds(report)
    if report.annotate is not None:
        yield _row("annotate, to files", _with_spread(report.annotate.fps, "fps"))
    if report.streams is not None:
        yield ""
        yield from _streams(report.streams)
    if report.capacity is not None:
        yield ""
        yield from _capacity(report.capacity)
    if report.soak is not None:
        yield ""
        yield from _soak(report.soak, report.age_limit_ms)
    if report.baseline is not None:
        yield ""
        yield from _baseline(report)


def _row(name: str, value: str) -> str:
    return f"  {name:<{_WIDTH}} {value}"


def _with_spread(figure: Spread, unit: str) -> str:
    return f"{figure.median:9.2f} {unit}  ({figure.low:.2f} to {figure.high:.2f})"


def _of(latency: Percentiles) -> str:
    return f"p50 {latency.p50:.1f}, p95 {latency.p95:.1f}, p99 {latency.p99:.1f} ms"


def _stages(report: Report) -> Iterator[str]:
    yield ""
    yield f"  {'one stage after the other':<{_WIDTH}} {'median':>9}    {'p95':>9}    CPU time, ms a frame"
    for name, stage in report.stages.items():
        label = f"{name} (for frames only)" if name in DRAWING_STAGES else name
        yield _row(label, f"{stage.ms:9.2f}    {stage.p95_ms:9.2f}    {stage.cpu_ms:9.2f}")


def _run(run: Runs) -> Iterator[str]:
    yield ""
    yield f"  a whole run, {run.frames} frames, median of {run.repeats} (lowest to highest)"
    rows = [
        ("labels", run.fps, "fps"),
        ("capture to publish, p50", run.p50_ms, "ms"),
        ("capture to publish, p95", run.p95_ms, "ms"),
        ("capture to publish, p99", run.p99_ms, "ms"),
        ("annotated frames", run.annotated_fps, "fps"),
        ("annotated frames, p95", run.annotated_p95_ms, "ms"),
        ("start to first label", run.first_label_s, "s"),
        ("CPU time a frame", run.cpu_ms_per_frame, "ms"),
        ("CPU cores in use", run.cpu_cores, "cores"),
        ("memory, steady", run.memory_mb, "MB"),
        ("memory, peak", run.peak_mb, "MB"),
    ]
    yield from (_row(name, _with_spread(figure, unit)) for name, figure, unit in rows if figure is not None)
    if run.dropped:
        yield _row("frames dropped, at most", f"{run.dropped:9d}")


def _bounds(report: Report) -> Iterator[str]:
    efficiency, model_only = report.efficiency, report.model_only
    yield _row(f"networks alone, lanes: {model_only.lanes}", _with_spread(model_only.fps, "fps"))
    yield _row("the run, of the networks alone", f"{efficiency.percent_of_model_only:9.1f} %")
    bound = f"{report.machine['cores']} cores / {efficiency.cpu_ms_per_frame:.1f} ms = {efficiency.bound_fps:.1f} fps"
    yield _row("the run, of what the cores allow", f"{efficiency.percent:9.1f} %  ({bound})")


def _streams(streams: Streams) -> Iterator[str]:
    yield f"  live streams: {streams.streams} of {streams.fps:.5g} fps"
    yield _row("the slowest is labelled at", f"{streams.slowest_fps:9.2f} fps")
    if streams.latency_ms is not None:
        yield _row("capture to publish", _of(streams.latency_ms))
        yield _row("frames dropped", f"{streams.dropped:9d}")
    if streams.cpu_cores is not None:
        yield _row("CPU cores in use, peak memory", f"{streams.cpu_cores:.2f} cores, {streams.peak_mb:.0f} MB")


def _capacity(capacity: Capacity) -> Iterator[str]:
    yield f"  the most live streams, p95 under {capacity.p95_ms:.0f} ms: {capacity.streams}"
    for trial in capacity.trials:
        latency = "too few labels" if trial.latency_ms is None else _of(trial.latency_ms)
        verdict = "carried" if trial.carried(capacity.p95_ms) else "too many"
        name = f"{trial.streams} of {trial.fps:.5g} fps, {verdict}"
        yield _row(name, f"{latency}, the slowest {trial.slowest_fps:.1f} fps")


def _soak(soak: Soak, age_limit_ms: float | None) -> Iterator[str]:
    yield f"  soak, {soak.frames} frames, {soak.labels} labels at {soak.fps:.1f} fps, {soak.dropped} frames dropped"
    yield _row("memory at the end", f"{soak.memory_mb:9.1f} MB")
    yield _row("growth, first to last tenth", f"{soak.growth_mb:9.2f} MB")
    yield _row("slope", f"{soak.mb_per_1000_frames:9.3f} MB a 1000 frames")
    yield _row("capture to publish, first half", _of(soak.first_half_ms))
    yield _row("capture to publish, second half", _of(soak.second_half_ms))
    if age_limit_ms is not None:
        yield _row("two inferences + a frame interval", f"{age_limit_ms:9.1f} ms")


def _baseline(report: Report) -> Iterator[str]:
    baseline = report.baseline
    assert baseline is not None
    yield f"  the baseline loop, {baseline.frames} frames, {baseline.threads} threads"
    yield _row("segment (UPerNet-50 at 320x416)", _with_spread(baseline.segment_s, "s"))
    yield _row("classify (two-branch ResNet-18)", _with_spread(baseline.classify_s, "s"))
    yield _row("a frame", _with_spread(baseline.frame_s, "s"))
    for name, ratio in (report.ratios or {}).items():
        yield _row(f"{name.replace('_', ' ')}, times as fast", f"{ratio:9.1f}")
