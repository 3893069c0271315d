"""`scene-streamer resmooth`: recorded labels smoothed again, without video or networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.commands import _options as options


def resmooth(
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Labels that `annotate` wrote, .jsonl or .mcap.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="The same with other states; .mcap writes MCAP.")
    ],
    config: options.Config = None,
    set_: options.Set = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Look ahead: every frame in the light of the whole recording.")
    ] = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Only copy, to another format or what is whole of a cut file.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Smooth recorded labels again with other settings, `--set smoother.params.confirm_s=1`; no video is needed."""
    if as_is and (config or set_ or offline):
        raise typer.BadParameter("--as-is smooths nothing, so it goes with no settings and not with --offline")
    if as_is:
        from tools.label_copy import copy_labels

        count = copy_labels(labels, output)
    else:
        from tools.resmooth import resmooth_file

        count = resmooth_file(labels, output, options.settings_from(config, set_).smoother, offline=offline)
    if as_json:
        import json

        typer.echo(json.dumps({"file": str(output), "labels": count}))
        return
    typer.echo(f"{count} labels", err=True)
    typer.echo(output)
