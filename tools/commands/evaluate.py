"""`scene-streamer evaluate`: how good a model is on labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from models.recognizer import Recognizer
    from tools.data.manifest import PictureManifest
    from tools.evaluation import Evaluation


def evaluate(
    manifest: Annotated[
        Path,
        typer.Option("--manifest", "-m", metavar="CSV", help="Columns path and scene; split and source if you like."),
    ],
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="Where the paths start from; the manifest's folder unless given."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", metavar="NAME", help="Only this split.")] = None,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="A model, or the folder of one.")] = "scene18",
    backend: options.Backend = None,
    device: options.Device = None,
    as_json: options.Json = False,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="OUT", help="Write path,scene,top1,p1,...,top5,p5 for every picture."),
    ] = None,
) -> None:
    """Measure a model on labelled pictures: Top@1/2/5, mean class accuracy, calibration."""
    from models import load_recognizer
    from tools.data.manifest import PictureManifest

    pictures = PictureManifest.read(manifest, root, split)
    recognizer = load_recognizer(model, backend=backend or "auto", device=device or "auto")
    result = _run(recognizer, pictures)
    if predictions is not None:
        _write(predictions, result.predictions_csv())
    _print_json(model, result) if as_json else _print_tables(result.summary())


def _run(recognizer: Recognizer, pictures: PictureManifest) -> Evaluation:
    from tools.evaluation import evaluate_pictures
    from tools.progress import CountProgress

    with CountProgress("evaluating", "pictures") as progress:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress(done, len(pictures))

        return evaluate_pictures(recognizer, pictures, advance)


def _write(path: Path, text: str) -> None:
    from streamer.files import PendingFile, output_errors

    file = PendingFile(path)
    try:
        with output_errors(path):
            file.path.write_text(text, encoding="utf-8")
        file.commit()
    finally:
        file.discard()


def _print_json(model: str, result: Evaluation) -> None:
    import json

    typer.echo(json.dumps({"model": model, **result.summary()}))


def _print_tables(summary: dict[str, Any]) -> None:
    head = f"{'':<20} {'count':>6} {'Top@1':>7} {'Top@2':>7} {'Top@5':>7} {'MCA':>7} {'ECE':>7}"
    typer.secho(head, bold=True)
    for name, row in {**summary["sources"], "all": summary}.items():
        figures = " ".join(f"{row[key]:7.3f}" for key in ("top1", "top2", "top5", "mca", "ece"))
        typer.echo(f"{name:<20} {row['count']:>6} {figures}")
    typer.echo(f"\nMCA with absent scenes as 0: {summary['mca_absent_as_zero']:.3f}")
    typer.echo(f"called unknown: {summary['unknown_share']:.1%}\n")
    typer.secho(f"{'scene':<20} {'count':>6} {'Top@1':>7}", bold=True)
    for label, row in summary["classes"].items():
        share = "      -" if row["top1"] is None else f"{row['top1']:7.3f}"
        typer.echo(f"{label:<20} {row['count']:>6} {share}")
