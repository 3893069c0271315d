"""`scene-streamer export`: a model as ONNX and OpenVINO files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from streamer.frame import Picture

_MOST_TO_CALIBRATE, _MOST_TO_CHECK = 300, 50


class Format(StrEnum):
    """Values of `--format`."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    BOTH = "both"


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model that names scenes, or the folder of one.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the files.")],
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.BOTH,
    batch: Annotated[
        str, typer.Option("--batch", metavar="N", help="Pictures at a time: dynamic (any number), or a number.")
    ] = "dynamic",
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="PICTURES", help="Compare on these: file, folder or glob. Default: made ones."),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="In 8 bits (OpenVINO only); needs --calibrate.")] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option("--calibrate", metavar="P", help="With --int8: a manifest (CSV, its train part) or a folder."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a model for other run times, normalisation and weights inside, checked against torch."""
    if int8 != (calibrate is not None):
        raise typer.BadParameter("--int8 and --calibrate go together")
    if int8 and form is not Format.OPENVINO:
        raise typer.BadParameter("--int8 is for --format openvino")
    count = _batch(batch)
    from models.package import find_package

    package = find_package(model)
    if int8:
        from tools.export.int8 import check_nncf

        check_nncf()  # before the work, not after it
    from tools.export.writing import check_pictures, export_model

    forms = ["onnx", "openvino"] if form is Format.BOTH else [form.value]
    chosen = None if calibrate is None else _to_calibrate(calibrate)
    # Eight bits are not made for noise.
    made = check_pictures() if chosen is None else chosen[:_MOST_TO_CHECK]
    pictures = made if check is None else _read(check)
    done = export_model(package, output, forms, pictures, batch=count, calibrate=chosen)
    if as_json:
        import json

        body = [
            {"format": d.form, "files": [str(f) for f in d.files], "difference": d.difference, "notes": d.notes}
            for d in done
        ]
        typer.echo(json.dumps(body))
        return
    for one in done:
        for file in one.files:
            typer.echo(f"{file}  {file.stat().st_size / 1e6:.1f} MB")
        for engine, difference in one.difference.items():
            typer.echo(f"  by {engine}: within {difference:.1e} of torch on {len(pictures)} pictures")
        for note in one.notes:
            typer.echo(f"  {note}")


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"--batch is dynamic, or a number of pictures, not {text!r}")
    return int(text)


def _read(target: str) -> list[Picture]:
    """The pictures of a file, folder or glob. Raises SourceError if there are none."""
    from streamer.errors import SourceError
    from streamer.sources._listing import find_pictures
    from streamer.sources.images import read_picture

    paths = find_pictures(target)
    if not paths:
        raise SourceError(f"no pictures at {target}; give a file, a folder or a glob of pictures")
    return [read_picture(path) for path in paths]


def _to_calibrate(source: Path) -> list[Picture]:
    """At most 300 pictures, spread evenly over a manifest or a folder."""
    from tools.data.manifest import PictureManifest

    if source.suffix.lower() != ".csv":
        found = _read(str(source))
        return found[:: -(-len(found) // _MOST_TO_CALIBRATE)]
    manifest = PictureManifest.read(source)
    # Never those that the result will be measured on.
    rows = [row for row, entry in enumerate(manifest.entries) if entry.split in ("", "train")]
    if not rows:
        raise typer.BadParameter(f"{source} has no pictures of split train to calibrate on")
    return [manifest[row] for row in rows[:: -(-len(rows) // _MOST_TO_CALIBRATE)]]
