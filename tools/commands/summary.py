"""`scene-streamer summary`: share of time per scene, transitions, longest stays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.commands import _options as options


def summary(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Labels, .jsonl or .mcap, or NAME.timeline.json.")],
    as_json: options.Json = False,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Draw it as a picture too.")] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="S", help="Whose labels, if the file has several sources.")
    ] = None,
) -> None:
    """Sum up a timeline: how much of the time each scene has, which follows which, and where it stays longest."""
    import json

    from streamer.files import write_bytes
    from tools.timeline.recording import read_timeline
    from tools.timeline.summary import summarise
    from tools.timeline.summary_view import summary_png, summary_text

    found = summarise(read_timeline(file, source))
    if plot is not None:
        write_bytes(plot, summary_png(found))
    typer.echo(json.dumps(found.body()) if as_json else summary_text(found), nl=as_json)
