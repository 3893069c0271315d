"""`scene-streamer precompute`: writes the semantics of a data set as PNGs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from tools.data.manifest import PictureManifest
    from tools.precompute import Precomputed, Wanted

_NAMED = 20  # broken pictures that are named at the end


def precompute(
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="ade20k, mit67, sun397 or places365; needs --root.")
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", "-m", metavar="CSV", help="Columns path and scene; split if you like.")
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", metavar="DIR", help="Where the pictures lie.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where to write; the root unless given.")
    ] = None,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="train, val or all.")] = "all",
    segmenter: Annotated[
        str, typer.Option("--segmenter", metavar="NAME", help="A model with a segmenter, such as scene18.")
    ] = "upernet_r50",
    scales: Annotated[
        str | None,
        typer.Option("--scales", metavar="A,B", help="Short sides in pixels to average over; by default the paper's."),
    ] = None,
    label_base: Annotated[
        int, typer.Option("--label-base", min=0, max=1, help="What label the first class (wall) has.")
    ] = 0,
    device: options.Device = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Pictures at once; by default one a core.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that something else made.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write what a segmenter sees of every picture: noisy_annotations_RGB/ and noisy_scores_RGB/.

    A run that was stopped goes on where it was when started again.
    """
    from tools.precompute import Wanted

    wanted = Wanted(segmenter, options.pixels(scales), label_base, device or "auto", workers, force)
    report = _run(_pictures(dataset, manifest, root, split), dataset, output, wanted)
    _print_report(report, as_json)
    if report.failures:
        raise typer.Exit(1)


def _pictures(dataset: str | None, manifest: Path | None, root: Path | None, split: str) -> list[PictureManifest]:
    from tools.data.layouts import SPLITS

    if split != "all":
        return [options.pictures(dataset, manifest, root, split)]
    return [options.pictures(dataset, manifest, root, part) for part in (SPLITS if dataset else (None,))]


def _run(pictures: list[PictureManifest], dataset: str | None, output: Path | None, wanted: Wanted) -> Precomputed:
    from tools.data.layouts import LAYOUTS
    from tools.data.semantics import SemanticFiles
    from tools.precompute import load_segmenters, precompute_pictures
    from tools.progress import CountProgress

    files = SemanticFiles(output or pictures[0].root, None if dataset is None else LAYOUTS[dataset])
    segmenters = load_segmenters(wanted.segmenter, wanted.scales, wanted.device, wanted.workers)
    typer.echo(
        f"segmenter {wanted.title} on {segmenters[0].device}; labels from {wanted.base}; {files.folder}", err=True
    )
    with CountProgress("checking", "pictures") as checking, CountProgress("segmenting", "pictures") as working:
        return precompute_pictures(pictures, files, segmenters, wanted, checking, working)


def _print_report(report: Precomputed, as_json: bool) -> None:
    if as_json:
        import json

        failures = [{"path": str(path), "reason": reason} for path, reason in report.failures]
        typer.echo(json.dumps({"written": report.written, "kept": report.kept, "failures": failures}))
    else:
        typer.echo(f"{report.written} pictures written, {report.kept} kept as they were")
    for path, reason in report.failures[:_NAMED]:
        typer.secho(f"{path}: {reason}", fg=typer.colors.RED, err=True)
    if report.failures:
        more = len(report.failures) - _NAMED
        named = f", {more} of them not named here" if more > 0 else ""
        typer.secho(f"{len(report.failures)} pictures without semantics{named}", fg=typer.colors.RED, err=True)
