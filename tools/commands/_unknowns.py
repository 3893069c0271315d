"""`scene-streamer datasets unknowns`: pictures that show none of scene18's scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tools.commands import _options as options


def unknowns(
    root: Annotated[
        Path, typer.Option("--root", metavar="DIR", help="The data folder: scenes.csv, ade20k.csv, camvid, videos.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write pictures and tables.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is left to chance.")] = 0,
    as_json: options.Json = False,
) -> None:
    """Make pictures that show none of scene18's scenes, to measure `unknown` with: unknowns.csv and known.csv."""
    import json

    from tools.data.unknowns import KNOWN, PARTS, UNKNOWNS, make_unknowns

    counts = make_unknowns(root, output, seed)
    if as_json:
        typer.echo(json.dumps(counts))
        return
    typer.secho(f"{'kind':<12}" + "".join(f"{part:>8}" for part in PARTS), bold=True)
    for kind, by_part in counts.items():
        typer.echo(f"{kind:<12}" + "".join(f"{by_part[part]:>8}" for part in PARTS))
    typer.echo(f"wrote {output / UNKNOWNS} and {output / KNOWN}")
