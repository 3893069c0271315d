"""`scene-streamer models`: the model zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options
from tools.commands._pull import pull

if TYPE_CHECKING:
    from models.package import ModelPackage

models = typer.Typer(help="List, describe, check, pull and import models.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="A model of `models list`, or the folder of one.")]


@models.command("list")
def list_models(as_json: options.Json = False) -> None:
    """List the models of this installation and those that were pulled or imported."""
    import json

    from models.errors import ModelError
    from models.package import find_package, packaged_models, user_models

    reports: list[dict[str, Any]] = []
    for name in [*packaged_models(), *user_models()]:
        try:
            reports.append(_report(find_package(name)))
        except ModelError as error:  # a damaged one hides no others
            reports.append({"name": name, "error": str(error)})
    if as_json:
        typer.echo(json.dumps(reports))
        return
    for report in reports:
        typer.echo(f"{report['name']:<28} {_summary(report)}")


@models.command("info")
def info(name: _Name, as_json: options.Json = False) -> None:
    """Describe a model: scenes, networks, preprocessing, calibration, origin, files."""
    import json

    from models.package import find_package

    package = find_package(name)
    report = _report(package)
    if as_json:
        typer.echo(json.dumps(report))
        return
    for key, value in report.items():
        typer.echo(f"{key.replace('_', ' '):<18} {_shown(value)}")
    if report["kind"] == "scene":
        _say_label_base(package)
    card = package.folder / "README.md"
    if card.is_file():
        typer.echo(f"{'model card':<18} {card}")


@models.command("verify")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models or folders of models; all without a name.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check models: every file against its SHA-256, and the weights against the network."""
    import json

    from config.errors import UserError
    from models.package import packaged_models, user_models
    from tools.zoo.verifying import verify_model

    reports: list[dict[str, Any]] = []
    for name in names or [*packaged_models(), *user_models()]:
        try:
            files = [path.name for path in verify_model(name)]
            reports.append({"name": name, "good": True, "files": files})
        except UserError as error:
            reports.append({"name": name, "good": False, "error": str(error)})
        if not as_json:
            said = ", ".join(reports[-1].get("files", ())) or reports[-1]["error"]
            typer.echo(f"{'good' if reports[-1]['good'] else 'BAD ':<4} {name}: {said}")
    if as_json:
        typer.echo(json.dumps(reports))
    if not all(report["good"] for report in reports):
        raise typer.Exit(1)


@models.command("import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="F [F2]", help="A scene network's checkpoint, or a segmenter's encoder and decoder."),
    ],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="What to call the model.")],
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="Scene names, one a line, if the file has none.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model of that name.")] = False,
    as_json: options.Json = False,
) -> None:
    """Import checkpoints from disk as a model; nothing in them is executed."""
    import json

    from tools.zoo.importing import import_model

    package = import_model(files, name, labels, overwrite=force)
    report = _report(package)
    if as_json:
        guess = _label_base(package)
        typer.echo(json.dumps(report | ({"label_base": guess} if guess else {})))
        return
    typer.echo(f"{name}: {_summary(report)}, in {package.folder}")
    _say_label_base(package)


models.command("pull")(pull)


def _label_base(package: ModelPackage) -> dict[str, Any] | None:
    from tools.zoo.importing import label_base_of

    guess = label_base_of(package)
    if guess is None:
        return None
    return {"guess": None if guess.base is None else int(guess.base), "evidence": guess.evidence}


def _say_label_base(package: ModelPackage) -> None:
    if guess := _label_base(package):
        typer.echo(f"{'label base':<18} {guess['evidence']}")


def _report(package: ModelPackage) -> dict[str, Any]:
    """What is known of a model; what it has not is left out.

    Raises:
        ModelError: its weights are missing.
    """
    manifest = package.manifest
    report = {
        "name": manifest.name,
        "kind": manifest.kind,
        "version": manifest.version,
        "labels": list(manifest.labels),
        **_networks(package),
        "input": _input(package),
        "semantic_classes": len([i for i in manifest.semantic_classes if i]) or None,
        **_files(package),
    }
    if manifest.classifier is not None:
        report["temperature"] = manifest.calibration.temperature
        report["unknown_threshold"] = manifest.calibration.unknown_threshold
        report["labels_sha256"] = package.labels_sha256
    if manifest.origin is not None:
        report["origin"] = manifest.origin.model_dump(mode="json", exclude_none=True)
    return {key: value for key, value in report.items() if value not in (None, [])}


def _networks(package: ModelPackage) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for part in ("segmenter", "classifier"):
        spec = getattr(package.manifest, part)
        if spec is not None:
            described[part] = spec.kind
            if package.manifest.kind != "joint" and spec.params:
                described[f"{part}_params"] = spec.params
    return described


def _input(package: ModelPackage) -> str | None:
    manifest = package.manifest
    if manifest.preprocess is not None:
        pre = manifest.preprocess
        return f"whole picture at {pre.width}x{pre.height}, mean {list(pre.mean)}, std {list(pre.std)}"
    if manifest.crop is not None:
        crop = manifest.crop
        size = "its own size" if crop.short_side is None else f"short side {crop.short_side}"
        return f"crop {crop.side}x{crop.side} of the picture at {size}, mean {list(crop.mean)}, std {list(crop.std)}"
    return None


def _files(package: ModelPackage) -> dict[str, Any]:
    from models.errors import ModelError

    if not package.has("weights"):
        return {}
    path = package.folder / package.manifest.files["weights"].path
    if not path.is_file():
        raise ModelError(f"model {package.manifest.name!r}: {path} is missing; install the model again")
    return {"weights_bytes": path.stat().st_size, "weights_sha256": package.weights_sha256}


def _summary(report: dict[str, Any]) -> str:
    if "error" in report:
        return f"damaged: {report['error']}"
    parts = [report["kind"], f"version {report['version']}"]
    if "labels" in report:
        parts.append(f"{len(report['labels'])} scenes")
    if "origin" in report:
        parts.append(report["origin"]["title"])
    if "weights_bytes" in report:
        parts.append(f"{report['weights_bytes'] / 1e6:.1f} MB")
    return ", ".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return "; ".join(f"{str(key).replace('_', ' ')} {_shown(entry)}" for key, entry in value.items())
    return str(value)
