"""`scene-streamer evaluate`: how good a model is on labelled pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from config.schema import Precision as PrecisionName
    from models.recognizer import Recognizer
    from tools.data.manifest import PictureManifest
    from tools.evaluation import Evaluation
    from tools.reference_evaluation import Protocol
    from tools.robustness import Robustness


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
        str | None, typer.Option("--model", metavar="NAME", help="With its own segmenter; scene18 unless given.")
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
    without: Annotated[
        Path | None,
        typer.Option("--without", metavar="CSV", help="Leave out the pictures that its column path names."),
    ] = None,
    corruptions: Annotated[
        str | None,
        typer.Option("--corruptions", metavar="A,B", help="Corrupt the pictures too: all, or such as noise,fog."),
    ] = None,
    unknowns: Annotated[
        Path | None,
        typer.Option("--unknowns", metavar="CSV", help="Pictures of no scene, made by `datasets unknowns`: AUROC."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, max=4096, help="Pictures at once (--checkpoint).")] = 8,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Batches at once (--checkpoint); one a core.")
    ] = None,
    backend: options.Backend = None,
    precision: options.Precision = None,
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
        names, computing = _corruption_names(corruptions), options.precision(precision)
        pictures = _limited(_pictures(None, manifest, root, split, without), limit)
        _evaluate_model(pictures, model or "scene18", backend, device, computing, names, unknowns, as_json, predictions)
        return
    if any(option is not None for option in (model, backend, precision)):
        raise typer.BadParameter("--model, --backend, --precision do not go with --checkpoint: it is torch")
    if corruptions is not None:
        raise typer.BadParameter("--corruptions goes with --model; with --checkpoint pictures are shown as they are")
    if unknowns is not None:
        raise typer.BadParameter("--unknowns goes with --model; a reference network does not know what is unknown")
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
    _evaluate_checkpoint(manifest, dataset, root, split, without, protocol, output, as_json, predictions)


def _evaluate_model(
    pictures: PictureManifest,
    model: str,
    backend: str | None,
    device: str | None,
    precision: PrecisionName,
    corruptions: tuple[str, ...],
    unknowns: Path | None,
    as_json: bool,
    predictions: Path | None,
) -> None:
    import json

    from models import load_recognizer
    from tools.commands._figures import print_robustness, print_tables, print_unknown

    told: dict[str, Any] = {}
    if unknowns is not None:
        from tools.unknown_evaluation import evaluate_unknowns, read_unknowns

        strange = read_unknowns(unknowns)  # a fault in the table is told before the work
    recognizer = load_recognizer(model, backend=backend or "auto", device=device or "auto", precision=precision)
    result = _run(recognizer, pictures, corruptions)
    _write_predictions(predictions, result.clean)
    summary = result.clean.summary()
    hurt = result.summary() if corruptions else {}
    if unknowns is not None:
        told["unknown"] = evaluate_unknowns(recognizer, strange, result.clean.known)
    if as_json:
        typer.echo(json.dumps({"model": model, **summary, **hurt, **told}))
        return
    print_tables(summary)
    if hurt:
        print_robustness(hurt, summary)
    if told:
        print_unknown(told["unknown"])


def _evaluate_checkpoint(
    manifest: Path | None,
    dataset: str | None,
    root: Path | None,
    split: str | None,
    without: Path | None,
    protocol: Protocol,
    output: Path | None,
    as_json: bool,
    predictions: Path | None,
) -> None:
    import json
    import sys

    from tools.commands._figures import print_reference
    from tools.data.layouts import LAYOUTS
    from tools.evaluation_report import result_of, write_report
    from tools.plots import check_matplotlib
    from tools.progress import CountProgress
    from tools.reference_evaluation import evaluate_reference

    if output is not None:
        check_matplotlib()  # before the work, not after it
    if dataset is not None:
        split = split or "val"
    pictures = _pictures(dataset, manifest, root, split, without)
    with CountProgress("evaluating", "pictures") as progress:
        result = evaluate_reference(pictures, LAYOUTS.get(dataset or ""), protocol, progress)
    values = result_of(result, split, sys.argv)
    if output is not None:
        write_report(output, result, values)
    _write_predictions(predictions, result.evaluation)
    typer.echo(json.dumps(values)) if as_json else print_reference(result, values)
    if result.doubt is not None:
        typer.secho(f"warning: {result.doubt}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def _corruption_names(text: str | None) -> tuple[str, ...]:
    from tools.robustness import corruption_names

    return () if text is None else corruption_names(text)


def _pictures(
    dataset: str | None, manifest: Path | None, root: Path | None, split: str | None, without: Path | None
) -> PictureManifest:
    from tools.picture_choice import leave_out

    pictures = options.pictures(dataset, manifest, root, split)
    if without is None:
        return pictures
    kept = leave_out(pictures, without)
    typer.echo(f"{len(pictures) - len(kept)} of {len(pictures)} pictures left out, named in {without}", err=True)
    return kept


def _limited(pictures: PictureManifest, limit: int | None) -> PictureManifest:
    from tools.picture_choice import evenly_spread

    return evenly_spread(pictures, limit)


def _run(recognizer: Recognizer, pictures: PictureManifest, corruptions: tuple[str, ...]) -> Robustness:
    from tools.evaluation import evaluate_pictures
    from tools.progress import CountProgress
    from tools.robustness import Robustness, evaluate_corrupted

    with CountProgress("evaluating", "pictures") as progress:
        done, total = 0, len(pictures) * (1 + len(corruptions))

        def advance(count: int) -> None:
            nonlocal done
            done += count
            progress(done, total)

        clean = evaluate_pictures(recognizer, pictures, advance)
        return Robustness(clean, evaluate_corrupted(recognizer, pictures, corruptions, advance))


def _write_predictions(path: Path | None, result: Evaluation) -> None:
    from streamer.files import write_bytes

    if path is not None:
        # Paths that are no UTF-8 are written as the bytes that they are.
        write_bytes(path, result.predictions_csv().encode(errors="surrogateescape"))
