"""`scene-streamer benchmark`: how fast this machine is (`docs/benchmarking.md`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from fractions import Fraction

    from config.schema import ModelSettings
    from config.schema import Precision as PrecisionName
    from tools.benchmark.measure import Plan

_THREADS = 2


def benchmark(
    source: Annotated[str | None, typer.Option("--source", "-s", metavar="URI", help="A recording.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="The model; without --source, on one 720p frame beside ResNet-18."
        ),
    ] = None,
    config: options.Config = None,
    set_: options.Set = None,
    device: options.Device = None,
    backend: options.Backend = None,
    precision: options.Precision = None,
    frames: Annotated[int, typer.Option("--frames", metavar="N", min=12, help="Frames to time the stages on.")] = 200,
    repeats: Annotated[int, typer.Option("--repeats", metavar="R", min=1, help="Whole runs to take.")] = 3,
    resize: Annotated[
        str | None,
        typer.Option(
            "--resize",
            metavar="WxH",
            help="Measure on a clip of that size, made of the source, or on such frames.",
        ),
    ] = None,
    frames_subscriber: Annotated[
        bool, typer.Option("--frames-subscriber", help="Subscribe to annotated frames as well.")
    ] = False,
    annotate: Annotated[bool, typer.Option("--annotate", help="Measure `annotate` too.")] = False,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Run the plain loop of eager PyTorch too, and print the ratio.")
    ] = False,
    baseline_frames: Annotated[
        int, typer.Option("--baseline-frames", metavar="N", min=1, help="Frames of that loop.")
    ] = 6,
    streams: Annotated[
        int | None, typer.Option("--streams", metavar="N", min=1, help="Run on N live copies of the source too.")
    ] = None,
    find_capacity: Annotated[
        bool, typer.Option("--find-capacity", help="Find the most live copies that this machine carries.")
    ] = False,
    p95_ms: Annotated[
        float, typer.Option("--p95-ms", metavar="M", min=1, help="How soon 95 % of their labels have to be there.")
    ] = 100.0,
    fps: Annotated[
        str | None, typer.Option("--fps", metavar="F", help="Frame rate of live copies; default: the source's.")
    ] = None,
    soak: Annotated[
        int | None, typer.Option("--soak", metavar="FRAMES", min=100, help="A long run too: does its memory grow?")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="P", help="Of the runs; `latest` plays at the source's own speed.")
    ] = None,
    stem: Annotated[
        bool, typer.Option("--stem", help="The sparse semantic stem against the dense one instead.")
    ] = False,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="A model on a CUDA device instead: single frames, batches, its limit.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads of the networks; beside ResNet-18: 2.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Write the JSON there too.")] = None,
    as_json: options.Json = False,
) -> None:
    """Time each stage of a frame's way, the networks alone, and the whole pipeline, on a recording."""
    if gpu:
        if stem or source is not None or backend not in (None, "torch"):
            raise typer.BadParameter(
                "--gpu runs --model on torch on made frames: no --source, --stem or other --backend"
            )
        named = {
            "model.name": model,
            "model.device": device or "cuda",
            "model.precision": precision,
            "model.threads": threads,
        }
        size = (1280, 720) if resize is None else _size(resize)
        _on_gpu(options.settings_from(config, set_, named).model, size, as_json, output)
        return
    if stem == (source is not None or model is not None):
        raise typer.BadParameter("give a recording with --source, or --model alone, or --stem alone")
    if source is None:
        chosen = backend or "auto", device or "auto", options.precision(precision)
        _compare(stem, model, *chosen, threads or _THREADS, as_json, output)
        return
    values = {
        "model.name": model,
        "model.device": device,
        "model.backend": backend,
        "model.precision": precision,
        "model.threads": threads,
        "capture.policy": policy,
    }
    settings = options.settings_from(config, set_, values)
    from tools.benchmark.measure import Plan

    plan = Plan(
        uri=source,
        settings=settings,
        frames=frames,
        repeats=repeats,
        size=None if resize is None else _size(resize),
        fps=None if fps is None else _rate(fps),
        frames_subscriber=frames_subscriber,
        annotate=annotate,
        streams=streams,
        p95_ms=p95_ms if find_capacity else None,
        soak_frames=soak,
        baseline_frames=baseline_frames if baseline else None,
    )
    _measure(plan, as_json, output)


def _measure(plan: Plan, as_json: bool, output: Path | None) -> None:
    from tools.benchmark.measure import measure
    from tools.benchmark.table import lines
    from tools.signals import sigterm_as_interrupt

    with _written(output) as write, sigterm_as_interrupt():
        report = measure(plan)
        write(report.as_dict())
    _print(report.as_dict(), lines(report), as_json)


def _on_gpu(model: ModelSettings, size: tuple[int, int], as_json: bool, output: Path | None) -> None:
    """A model on a CUDA device, on frames of `size` = (W, H)."""
    from tools.benchmark.gpu import lines, measure_gpu
    from tools.benchmark.machine import machine

    found = machine()
    with _written(output) as write:
        report = {"machine": found, **measure_gpu(model, size[::-1])}
        write(report)
    _print(report, [_words(found), *lines(report)], as_json)


def _words(found: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in found.items())


def _compare(
    stem: bool,
    model: str | None,
    backend: str,
    device: str,
    precision: PrecisionName,
    threads: int,
    as_json: bool,
    output: Path | None,
) -> None:
    """One network beside a known one, or the sparse stem beside the dense one."""
    from tools.benchmark.machine import machine

    found = machine()
    with _written(output) as write:
        if stem:
            from tools.benchmark.stem import lines, measure_stem

            report = {"machine": found, **measure_stem(batch=4, repeats=5)}
        else:
            from tools.benchmark.beside_resnet import lines, measure_model

            assert model is not None
            report = {"machine": found, **measure_model(model, backend, device, precision, threads, repeats=200)}
        write(report)
    _print(report, [_words(found), *lines(report)], as_json)


@contextmanager
def _written(output: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Takes the report for a file, if there is to be one; that it can be written shows before anything is measured."""
    if output is None:
        yield lambda _report: None
        return
    import json

    from streamer.files import PendingFile, output_errors

    file = PendingFile(output)

    def write(report: dict[str, Any]) -> None:
        with output_errors(output):
            file.path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        file.commit()

    try:
        yield write
    finally:
        file.discard()


def _print(report: dict[str, Any], table: Iterable[str], as_json: bool) -> None:
    import json

    for line in [json.dumps(report)] if as_json else table:
        typer.echo(line)


def _size(text: str) -> tuple[int, int]:
    """Of "1280x720"."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 16):
        raise typer.BadParameter(f"--resize is a size in pixels such as 1280x720, not {text!r}")
    return int(width), int(height)


def _rate(text: str) -> Fraction:
    """Of "30" or "30000/1001"."""
    from fractions import Fraction

    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 1 <= rate <= 1000:
        raise typer.BadParameter(f"--fps is a frame rate from 1 to 1000 such as 30 or 30000/1001, not {text!r}")
    return rate
