"""`scene-streamer evaluate`: how good a model is on labelled pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from models.recognizer import Recognizer
    from tools.data.manifest import PictureManifest
    from tools.evaluation import Evaluation
    from tools.reference_evaluation import Protocol, ReferenceResult

_LISTED = 80  # scenes that are printed one by one; more are for the table of --output


class BranchName(StrEnum):
    """Values of `--branch`."""

    BOTH = "both"
    RGB = "rgb"
    SEMANTIC = "semantic"


def evaluate(
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", "-m", metavar="CSV", help="Columns path and scene; split and source if you like."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="ade20k, mit67, sun397 or places365; needs --root.")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="Where the paths start from; the manifest's folder unless given."),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Only this split; of a data set val unless given.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="A model with its own segmenter. [default: scene18]")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", metavar="F", help="A reference network: .pth.tar, or a model's name.")
    ] = None,
    branch: Annotated[
        BranchName | None, typer.Option("--branch", help="Whose scores count, of a two-branch network.")
    ] = None,
    ten_crop: Annotated[bool, typer.Option("--ten-crop", help="Ten crops, as published figures have.")] = False,
    semantics: Annotated[
        str, typer.Option("--semantics", metavar="S", help="files (precomputed), or a segmenter such as upernet_r50.")
    ] = "files",
    semantics_root: Annotated[
        Path | None, typer.Option("--semantics-root", metavar="DIR", help="Where the files lie; the root unless given.")
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option("--scales", metavar="A,B", help="Short sides for the segmenter; the paper's by default."),
    ] = None,
    label_base: Annotated[
        int | None,
        typer.Option("--label-base", min=0, max=1, help="First label of a segmenter on the fly; by default 0."),
    ] = None,
    float_scores: Annotated[
        bool, typer.Option("--float-scores", help="Leave a segmenter's scores unrounded; files have 8 bits.")
    ] = False,
    partition: Annotated[
        str | None,
        typer.Option("--partition", metavar="NAME", help="Which official partition, if train and val list the same."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Only N pictures, evenly spread.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, max=4096, help="Pictures at once (--checkpoint).")] = 8,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Batches at once (--checkpoint); one a core.")
    ] = None,
    backend: options.Backend = None,
    device: options.Device = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Write result.json, classes.csv and diagrams (--checkpoint)."
        ),
    ] = None,
    as_json: options.Json = False,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="OUT", help="Write path,scene,top1,p1,...,top5,p5 for every picture."),
    ] = None,
) -> None:
    """Measure a model on labelled pictures: Top@1/2/5, mean class accuracy, calibration."""
    if (manifest is None) == (dataset is None):
        raise typer.BadParameter("give either --manifest CSV or --dataset NAME --root DIR")
    if checkpoint is None:
        if dataset is not None:
            raise typer.BadParameter("--dataset needs --checkpoint, a network that knows the scenes of that data set")
        assert manifest is not None
        _evaluate_model(manifest, root, split, model or "scene18", backend, device, as_json, predictions)
        return
    if model is not None or backend is not None:
        raise typer.BadParameter("--model and --backend do not go with --checkpoint, which runs on torch")
    from tools.reference_evaluation import Protocol

    protocol = Protocol(
        checkpoint=checkpoint,
        branch=None if branch is None else branch.value,
        ten_crop=ten_crop,
        semantics=semantics,
        semantics_root=semantics_root,
        scales=options.pixels(scales),
        label_base=label_base,
        float_scores=float_scores,
        batch=batch,
        workers=workers,
        device=device or "auto",
        limit=limit,
        partition=partition,
    )
    _evaluate_checkpoint(manifest, dataset, root, split, protocol, output, as_json, predictions)


def _evaluate_model(
    manifest: Path,
    root: Path | None,
    split: str | None,
    model: str,
    backend: str | None,
    device: str | None,
    as_json: bool,
    predictions: Path | None,
) -> None:
    from models import load_recognizer
    from tools.data.manifest import PictureManifest

    pictures = PictureManifest.read(manifest, root, split)
    recognizer = load_recognizer(model, backend=backend or "auto", device=device or "auto")
    result = _run(recognizer, pictures)
    _write_predictions(predictions, result)
    _print_json(model, result) if as_json else _print_tables(result.summary())


def _evaluate_checkpoint(
    manifest: Path | None,
    dataset: str | None,
    root: Path | None,
    split: str | None,
    protocol: Protocol,
    output: Path | None,
    as_json: bool,
    predictions: Path | None,
) -> None:
    import json
    import sys

    from tools.data.layouts import LAYOUTS
    from tools.evaluation_report import result_of, write_report
    from tools.plots import check_matplotlib
    from tools.progress import CountProgress
    from tools.reference_evaluation import evaluate_reference

    if output is not None:
        check_matplotlib()  # before the work, not after it
    if dataset is not None:
        split = split or "val"
    pictures = options.pictures(dataset, manifest, root, split)
    with CountProgress("evaluating", "pictures") as progress:
        result = evaluate_reference(pictures, LAYOUTS.get(dataset or ""), protocol, progress)
    values = result_of(result, split, sys.argv)
    if output is not None:
        write_report(output, result, values)
    _write_predictions(predictions, result.evaluation)
    typer.echo(json.dumps(values)) if as_json else _print_reference(result, values)
    if result.doubt is not None:
        typer.secho(f"warning: {result.doubt}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


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


def _write_predictions(path: Path | None, result: Evaluation) -> None:
    from streamer.files import write_bytes

    if path is not None:
        # Paths that are no UTF-8 are written as the bytes that they are.
        write_bytes(path, result.predictions_csv().encode(errors="surrogateescape"))


def _print_json(model: str, result: Evaluation) -> None:
    import json

    typer.echo(json.dumps({"model": model, **result.summary()}))


def _print_reference(result: ReferenceResult, values: dict[str, Any]) -> None:
    checkpoint, semantics = values["checkpoint"], values["semantics"]
    made = "" if semantics["source"] == "none" else f", semantics from {semantics['source']}"
    typer.echo(f"{checkpoint['title']}, {values['branch']}, {values['crops']} crop(s) a picture{made}")
    if result.doubt is not None:
        typer.secho("NOT AN ACCURACY: agreement with the labels of pictures that train and val share", bold=True)
    summary = result.evaluation.summary()
    _print_figures(summary)
    absent = values["scenes"] - values["scenes_present"]
    typer.echo(
        f"\nMCA of the reference, absent scenes as 0: {summary['mca_absent_as_zero']:.3f}; scenes absent: {absent}"
    )
    if values["scenes"] <= _LISTED:
        typer.echo("")
        _print_classes(summary)


def _print_tables(summary: dict[str, Any]) -> None:
    _print_figures(summary)
    typer.echo(f"\nMCA with absent scenes as 0: {summary['mca_absent_as_zero']:.3f}")
    typer.echo(f"called unknown: {summary['unknown_share']:.1%}\n")
    _print_classes(summary)


def _print_figures(summary: dict[str, Any]) -> None:
    head = f"{'':<20} {'count':>6} {'Top@1':>7} {'Top@2':>7} {'Top@5':>7} {'MCA':>7} {'ECE':>7}"
    typer.secho(head, bold=True)
    for name, row in {**summary["sources"], "all": summary}.items():
        figures = " ".join(f"{row[key]:7.3f}" for key in ("top1", "top2", "top5", "mca", "ece"))
        typer.echo(f"{name:<20} {row['count']:>6} {figures}")


def _print_classes(summary: dict[str, Any]) -> None:
    typer.secho(f"{'scene':<20} {'count':>6} {'Top@1':>7}", bold=True)
    for label, row in summary["classes"].items():
        share = "      -" if row["top1"] is None else f"{row['top1']:7.3f}"
        typer.echo(f"{label:<20} {row['count']:>6} {share}")
