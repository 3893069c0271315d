"""`scene-streamer models`: the model zoo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from models.package import ModelPackage

models = typer.Typer(help="List and describe models.", no_args_is_help=True)


@models.command("list")
def list_models(as_json: options.Json = False) -> None:
    """List the models that come with this installation."""
    import json

    from models.package import find_package, packaged_models

    reports = [_report(find_package(name)) for name in packaged_models()]
    if as_json:
        typer.echo(json.dumps(reports))
        return
    for report in reports:
        typer.echo(
            f"{report['name']:<12} version {report['version']}, {len(report['labels'])} scenes, "
            f"{report['weights_bytes'] / 1e6:.1f} MB"
        )


@models.command("info")
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A packaged model, or the folder of one.")],
    as_json: options.Json = False,
) -> None:
    """Describe a model: scenes, networks, preprocessing, calibration, files."""
    import json

    from models.package import find_package

    package = find_package(name)
    report = _report(package)
    if as_json:
        typer.echo(json.dumps(report))
        return
    for key, value in report.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        typer.echo(f"{key.replace('_', ' '):<16} {shown}")
    card = package.folder / "README.md"
    if card.is_file():
        typer.echo(f"{'model card':<16} {card}")


def _report(package: ModelPackage) -> dict[str, Any]:
    manifest = package.manifest
    pre = manifest.preprocess
    return {
        "name": manifest.name,
        "version": manifest.version,
        "labels": list(manifest.labels),
        "segmenter": manifest.segmenter.kind,
        "classifier": manifest.classifier.kind,
        "semantic_classes": len([i for i in manifest.semantic_classes if i]),
        "input": f"whole picture at {pre.width}x{pre.height}, mean {list(pre.mean)}, std {list(pre.std)}",
        "temperature": manifest.calibration.temperature,
        "unknown_threshold": manifest.calibration.unknown_threshold,
        "weights_bytes": package.path("weights").stat().st_size,
        "weights_sha256": package.weights_sha256,
        "labels_sha256": package.labels_sha256,
    }
