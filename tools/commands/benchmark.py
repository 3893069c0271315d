"""`scene-streamer benchmark`: how fast this machine is."""

from __future__ import annotations

from typing import Annotated

import typer

from tools.commands import _options as options


def benchmark(
    source: Annotated[str, typer.Option("--source", "-s", metavar="URI", help="A recording.")],
    frames: Annotated[int, typer.Option("--frames", metavar="N", min=20, help="Frames to time the stages on.")] = 200,
    config: options.Config = None,
    set_: options.Set = None,
    device: options.Device = None,
    backend: options.Backend = None,
    as_json: options.Json = False,
) -> None:
    """Time each stage of a frame's way, and the whole pipeline, on a recording."""
    import json

    settings = options.settings_from(config, set_, {"model.device": device, "model.backend": backend})
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
