"""`scene-streamer classify`: single pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from models.prediction import Prediction


def classify(
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE...", help="Files, folders or globs of pictures.")],
    config: options.Config = None,
    set_: options.Set = None,
    device: options.Device = None,
    backend: options.Backend = None,
    as_json: options.Json = False,
) -> None:
    """Name the scenes of single pictures: top-5 and what the segmentation saw."""
    settings = options.settings_from(config, set_, {"model.device": device, "model.backend": backend})

    from streamer.app import recognizer_for
    from streamer.errors import SourceError
    from streamer.sources.images import read_picture

    paths = _listed(pictures)
    recognizer = recognizer_for(settings.model)
    threshold = recognizer.package.manifest.calibration.unknown_threshold
    failures = 0
    for path in paths:
        try:
            prediction = recognizer.predict(read_picture(path))
        except SourceError as error:  # the other pictures are still worth naming
            typer.secho(f"scene-streamer: {error}", fg=typer.colors.RED, err=True)
            failures += 1
            continue
        report = _report(str(path), prediction, threshold)
        _print_json(report) if as_json else _print_text(report)
    if failures:
        raise typer.Exit(1)


def _listed(pictures: list[str]) -> list[Path]:
    """Every picture that the arguments name. Raises SourceError for one that names none."""
    from streamer.address import parse
    from streamer.errors import SourceError
    from streamer.sources._listing import find_pictures

    paths: list[Path] = []
    for text in pictures:
        address = parse(text)
        if address.kind != "images":
            raise SourceError(f"{text} is no picture; for videos use `scene-streamer run` or `annotate`")
        paths += find_pictures(address.uri)
    return paths


def _report(path: str, prediction: Prediction, threshold: float) -> dict[str, Any]:
    from config.labels import load_labels

    names = load_labels("ade20k_objects").names
    return {
        "path": path,
        "top": [[scene, round(p, 6)] for scene, p in prediction.top(5)],
        "unknown": prediction.top(1)[0][1] < threshold,
        "entropy": round(prediction.entropy, 6),
        "semantic": [[i, names[i - 1], round(share, 4)] for i, share in prediction.class_shares()],
    }


def _print_json(report: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(report))


def _print_text(report: dict[str, Any]) -> None:
    typer.secho(report["path"], bold=True)
    for scene, p in report["top"]:
        typer.echo(f"  {scene:<16} {p:6.1%}  {'█' * round(30 * p)}")
    if report["unknown"]:
        typer.echo("  (none of the scenes is probable enough: unknown)")
    seen = ", ".join(f"{name} {share:.0%}" for _, name, share in report["semantic"][:8])
    typer.echo(f"  sees: {seen or 'none of the classes it knows'}\n")
