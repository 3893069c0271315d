"""`scene-streamer benchmark`: how fast this machine is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from config.schema import Precision as PrecisionName


def benchmark(
    source: Annotated[str | None, typer.Option("--source", "-s", metavar="URI", help="A recording.")] = None,
    frames: Annotated[int, typer.Option("--frames", metavar="N", min=20, help="Frames to time the stages on.")] = 200,
    config: options.Config = None,
    set_: options.Set = None,
    device: options.Device = None,
    backend: options.Backend = None,
    precision: options.Precision = None,
    stem: Annotated[
        bool, typer.Option("--stem", help="The sparse semantic stem against the dense one instead.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="A model on one 720p frame, beside ResNet-18, instead."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of the networks (--model).")] = 2,
    as_json: options.Json = False,
) -> None:
    """Time each stage of a frame's way, and the whole pipeline, on a recording."""
    import json

    if sum((stem, source is not None, model is not None)) != 1:
        raise typer.BadParameter("give a recording with --source, or --stem, or --model")
    if stem:
        _benchmark_stem(as_json)
        return
    if model is not None:
        _benchmark_model(model, backend or "auto", device or "auto", options.precision(precision), threads, as_json)
        return
    assert source is not None
    settings = options.settings_from(
        config, set_, {"model.device": device, "model.backend": backend, "model.precision": precision}
    )
    from tools.benchmark import measure

    report = measure(source, settings, frames)
    if as_json:
        typer.echo(json.dumps(report))
        return
    typer.echo(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    for stage, milliseconds in report["stage_ms"].items():
        typer.echo(f"  {stage:<16} {milliseconds:8.2f} ms")
    rate = report["run"]
    typer.echo(f"  whole run        {rate['fps']:8.1f} fps  ({rate['frames']} frames, {rate['cpu_s']} s of CPU time)")


def _benchmark_model(
    model: str, backend: str, device: str, precision: PrecisionName, threads: int, as_json: bool
) -> None:
    import json

    from tools.benchmark import machine
    from tools.benchmark_model import measure_model

    report = {"machine": machine(), **measure_model(model, backend, device, precision, threads, repeats=200)}
    if as_json:
        typer.echo(json.dumps(report))
        return
    typer.echo(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    what = {"model": f"{model} on {report['engine']}, from the {report['frame']} frame", "resnet18": "ResNet-18 at 224"}
    for key, times in report["ms"].items():
        typer.echo(f"  {what[key]:<48} median {times['median']:7.2f} ms, p95 {times['p95']:7.2f} ms")
    typer.echo(f"  {report['ratio_to_resnet18']} times ResNet-18, {threads} threads")


def _benchmark_stem(as_json: bool) -> None:
    import json

    from tools.benchmark import machine
    from tools.benchmark_stem import measure_stem

    report = {"machine": machine(), **measure_stem(batch=4, repeats=5)}
    if as_json:
        typer.echo(json.dumps(report))
        return
    typer.echo(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    typer.echo(f"torch {report['torch']}, {report['threads']} threads, batch {report['batch']}")
    for work, milliseconds in report["ms_a_picture"].items():
        typer.echo(f"  {work:<28} {milliseconds:8.2f} ms a picture")
    for work, times in report["times_sooner"].items():
        typer.echo(f"  {work}: {times} times sooner")
    typer.echo(f"  largest difference {report['largest_difference']:.1e}")
