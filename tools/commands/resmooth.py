"""`scene-streamer resmooth`: recorded labels smoothed again, without video or networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.commands import _options as options


def resmooth(
    labels: Annotated[Path, typer.Argument(metavar="LABELS.jsonl", help="Labels that `annotate` wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.jsonl", help="The same with other states.")],
    config: options.Config = None,
    set_: options.Set = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Look ahead: every frame in the light of the whole recording.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Smooth recorded labels again with other settings, `--set smoother.params.confirm_s=1`; no video is needed."""
    settings = options.settings_from(config, set_)

    from tools.resmooth import resmooth_file

    count = resmooth_file(labels, output, settings.smoother, offline=offline)
    if as_json:
        import json

        typer.echo(json.dumps({"file": str(output), "labels": count}))
        return
    typer.echo(f"{count} labels", err=True)
    typer.echo(output)
