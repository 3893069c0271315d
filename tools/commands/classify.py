"""`scene-streamer classify`: single pictures."""

from __future__ import annotations

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

    from streamer.address import open_source
    from streamer.app import recognizer_for

    sources = [open_source(picture, None, settings.capture) for picture in pictures]
    recognizer = recognizer_for(settings.model)
    threshold = recognizer.package.manifest.calibration.unknown_threshold
    for picture, source in zip(pictures, sources, strict=True):
        with source:
            source.open()
            for frame in source.frames():
                path = source.place(frame) or picture
                report = _report(path, recognizer.predict(frame.image), threshold)
                _print_json(report) if as_json else _print_text(report)


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
