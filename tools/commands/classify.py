"""`scene-streamer classify`: single pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from models.prediction import Prediction
    from models.recognizer import Recognizer
    from streamer.frame import Picture


def classify(
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE...", help="Files, folders or globs of pictures.")],
    config: options.Config = None,
    set_: options.Set = None,
    device: options.Device = None,
    backend: options.Backend = None,
    precision: options.Precision = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which semantic classes carried the decision, and by how much.")
    ] = False,
    explain_dir: Annotated[
        Path | None,
        typer.Option("--explain-dir", metavar="DIR", help="With --explain: heat maps over the pictures, as PNG."),
    ] = None,
    explain_scene: Annotated[
        str | None,
        typer.Option("--explain-scene", metavar="SCENE", help="With --explain: this scene instead of the likeliest."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Name the scenes of single pictures: top-5 and what the segmentation saw."""
    if not explain and (explain_dir is not None or explain_scene is not None):
        raise typer.BadParameter("--explain-dir and --explain-scene need --explain")
    settings = options.settings_from(
        config, set_, {"model.device": device, "model.backend": backend, "model.precision": precision}
    )

    from streamer.app import recognizer_for
    from streamer.errors import SourceError
    from streamer.sources.images import read_picture

    paths = _listed(pictures)
    if explain_dir is not None:
        from tools.explanation import check_stems

        check_stems(paths)
    recognizer = recognizer_for(settings.model)
    threshold = recognizer.package.manifest.calibration.unknown_threshold
    if explain and recognizer.engine != "torch":
        typer.echo(f"predictions run on {recognizer.engine}, explanations on torch", err=True)
    failures = 0
    for path in paths:
        try:
            picture = read_picture(path)
            prediction = recognizer.predict(picture)
        except SourceError as error:  # the other pictures are still worth naming
            typer.secho(f"scene-streamer: {error}", fg=typer.colors.RED, err=True)
            failures += 1
            continue
        report = _report(str(path), prediction, threshold)
        if explain:
            report["explanation"] = _explained(recognizer, picture, path, explain_scene, explain_dir)
        _print_json(report) if as_json else _print_text(report, doubt(prediction, threshold))
    if failures:
        raise typer.Exit(1)


def _explained(
    recognizer: Recognizer, picture: Picture, path: Path, scene: str | None, folder: Path | None
) -> dict[str, Any]:
    from tools.explanation import explanation_report, write_heat_maps

    explanation = recognizer.explain(picture, scene)
    report = explanation_report(explanation)
    if folder is not None:
        report["files"] = [str(file) for file in write_heat_maps(explanation, picture, path.stem, folder)]
    return report


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
    report = {
        "path": path,
        "top": [[scene, round(p, 6)] for scene, p in prediction.top(5)],
        "unknown": prediction.known < threshold,
        **({} if prediction.p_unknown is None else {"p_unknown": round(prediction.p_unknown, 6)}),
        "entropy": round(prediction.entropy, 6),
    }
    if prediction.class_map is not None:
        report["semantic"] = [[i, names[i - 1], round(share, 4)] for i, share in prediction.class_shares()]
    return report


def _print_json(report: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(report))


def doubt(prediction: Prediction, threshold: float) -> str | None:
    """What to say of a picture in which no scene is believed; None where one is.

    Args:
        prediction: of the picture.
        threshold: of `prediction.known`, under which no scene is believed; the model's.
    """
    if prediction.known >= threshold:
        return None
    scenes = len(prediction.labels)
    if prediction.p_unknown is None:
        return f"may be none of the {scenes} scenes: the best has {prediction.known:.2f}, threshold {threshold:.2f}"
    # A careful model's threshold lies far below one half.
    may_be = "probably" if prediction.p_unknown > 0.5 else "may be"
    return f"{may_be} none of the {scenes} scenes: p_unknown {prediction.p_unknown:.2f}, threshold {1 - threshold:.2f}"


def _print_text(report: dict[str, Any], doubt: str | None) -> None:
    typer.secho(report["path"], bold=True)
    for scene, p in report["top"]:
        typer.echo(f"  {scene:<16} {p:6.1%}  {'█' * round(30 * p)}")
    if doubt is not None:
        typer.echo(f"  ({doubt})")
    if "semantic" in report:
        seen = ", ".join(f"{name} {share:.0%}" for _, name, share in report["semantic"][:8])
        typer.echo(f"  sees: {seen or 'none of the classes it knows'}")
    if "explanation" in report:
        from tools.explanation import explanation_lines

        for line in explanation_lines(report["explanation"]):
            typer.echo(line)
        for file in report["explanation"].get("files", []):
            typer.echo(f"  {file}")
    typer.echo()
