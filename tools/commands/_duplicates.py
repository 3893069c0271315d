"""`scene-streamer datasets duplicates`: pictures that a data set has on both sides of a split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from tools.data.manifest import PictureManifest
    from tools.near_duplicates import Twin


def duplicates(
    manifest: Annotated[
        Path, typer.Option("--manifest", "-m", metavar="CSV", help="Columns path, scene and split; source if you like.")
    ],
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="Where the paths start from; the manifest's folder unless given."),
    ] = None,
    between: Annotated[
        str, typer.Option("--between", metavar="A,B", help="Two splits; those of the second are named in column path.")
    ] = "train,val",
    distance: Annotated[
        int | None,
        typer.Option("--distance", min=0, max=32, help="Bits of 64 in which hashes may differ. [default: 20]"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="CSV", help="Write the pairs, for evaluate --without.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Find pictures of one split that show nearly the same photograph as one of another, mirrored ones too."""
    import json

    from streamer.files import write_bytes
    from tools.data.manifest import PictureManifest
    from tools.near_duplicates import DISTANCE, twins_csv

    other_split, split = _two_splits(between)
    pictures, others = (PictureManifest.read(manifest, root, name) for name in (split, other_split))
    twins = _find(pictures, others, DISTANCE if distance is None else distance)
    if output is not None:
        write_bytes(output, twins_csv(twins).encode(errors="surrogateescape"))
    report = _report(twins, pictures, between=[other_split, split])
    if as_json:
        typer.echo(json.dumps(report))
        return
    if output is None:
        _print_twins(twins)
    _print(report)


def _two_splits(between: str) -> tuple[str, str]:
    names = [name.strip() for name in between.split(",")]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise typer.BadParameter(f"--between is two different splits such as train,val, not {between!r}")
    return names[0], names[1]


def _find(pictures: PictureManifest, others: PictureManifest, distance: int) -> list[Twin]:
    from tools.near_duplicates import find_twins
    from tools.progress import CountProgress

    with CountProgress("reading", "pictures") as reading, CountProgress("comparing", "pictures") as comparing:
        return find_twins(pictures, others, distance, reading, comparing)


def _report(twins: list[Twin], pictures: PictureManifest, between: list[str]) -> dict[str, Any]:
    from dataclasses import asdict

    doubled = {twin.path for twin in twins}
    counts = Counter(entry.source for entry in pictures.entries)
    found = Counter(entry.source for entry in pictures.entries if entry.path in doubled)
    return {
        "between": between,
        "pictures": len(pictures),
        "with_twin": sum(found.values()),
        "sources": {name: {"pictures": counts[name], "with_twin": found[name]} for name in sorted(counts) if name},
        "pairs": [asdict(twin) for twin in twins],
    }


def _print_twins(twins: list[Twin]) -> None:
    for twin in twins:
        mirrored = ", mirrored" if twin.mirrored else ""
        typer.echo(f"{twin.path}  {twin.other_path}  {twin.correlation:.2f}{mirrored}")


def _print(report: dict[str, Any]) -> None:
    other_split, split = report["between"]
    for name, row in report["sources"].items():
        typer.echo(f"{name:<20} {row['with_twin']:>6} of {row['pictures']}")
    typer.echo(
        f"{report['with_twin']} of {report['pictures']} pictures of {split} have a twin in {other_split}, "
        f"{len(report['pairs'])} pairs"
    )
