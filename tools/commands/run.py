"""`scene-streamer run`: the live pipeline."""

from __future__ import annotations

from typing import Annotated

import typer

from tools.commands import _options as options


def run(
    source: Annotated[
        list[str],
        typer.Option(
            "--source",
            "-s",
            metavar="URI",
            help="File, folder or glob of pictures, rtsp://, http(s)://, camera number or /dev/videoN, synthetic:",
        ),
    ],
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="Name of the source on the bus; once for every --source."),
    ] = None,
    config: options.Config = None,
    set_: options.Set = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="ADDR", help="Bind labels, events and heartbeats here, or `off`."),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option("--frames", metavar="ADDR", help="Bind annotated frames here, or `off`."),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", metavar="P", help="latest: freshest frame; every: nothing dropped; auto: by source."),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option("--max-frames", metavar="N", min=1, help="End each source after N frames."),
    ] = None,
    device: options.Device = None,
    backend: options.Backend = None,
    precision: options.Precision = None,
    wait_subscriber: Annotated[
        float | None,
        typer.Option("--wait-subscriber", metavar="S", min=0, help="Hold the first frame until somebody subscribes."),
    ] = None,
) -> None:
    """Name the scenes of cameras and recordings, live, and publish them on the bus."""
    settings = options.settings_from(
        config,
        set_,
        {
            "capture.policy": policy,
            "capture.max_frames": max_frames,
            "model.device": device,
            "model.backend": backend,
            "model.precision": precision,
            "bus.labels": labels,
            "bus.frames": frames,
            "bus.wait_subscriber_s": wait_subscriber,
        },
    )
    from tools.live import run_live

    raise typer.Exit(run_live(source, name or [], settings))
