"""`scene-streamer export`: a model as ONNX and OpenVINO files."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from models.package import ModelPackage
    from streamer.frame import Picture

_MOST_TO_CALIBRATE, _MOST_TO_CHECK = 300, 50


class Format(StrEnum):
    """Values of `--format`."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    BOTH = "both"


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model or its folder; a segmenter with --int8.")],
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
    scales: Annotated[
        str | None,
        typer.Option("--scales", metavar="A,B", help="With --int8, of a segmenter: its short sides, in pixels."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Write a model for other run times, normalisation and weights inside, checked against torch.

    Of a segmenter, with --int8: a model's folder to run with --precision int8.
    """
    if int8 != (calibrate is not None):
        raise typer.BadParameter("--int8 and --calibrate go together")
    if int8 and form is not Format.OPENVINO:
        raise typer.BadParameter("--int8 is for --format openvino")
    count, short_sides = _batch(batch), options.pixels(scales)
    from models.package import find_package

    package = find_package(model)
    of_segmenter = int8 and package.manifest.kind == "segmenter"
    if short_sides is not None and not of_segmenter:
        raise typer.BadParameter("--scales is for a segmenter with --int8")
    if count is not None and of_segmenter:
        raise typer.BadParameter("--batch is not for a segmenter, which sees one picture at a time")
    if int8:
        from tools.export.int8 import check_nncf

        check_nncf()  # before the work, not after it
    from tools.export.pictures import pictures_at, pictures_to_calibrate
    from tools.export.writing import check_pictures

    chosen = None if calibrate is None else pictures_to_calibrate(calibrate).spread(_MOST_TO_CALIBRATE)
    # Eight bits are not made for noise.
    made = check_pictures() if chosen is None else chosen.spread(_MOST_TO_CHECK)
    pictures = made if check is None else pictures_at(check)
    if of_segmenter:
        assert chosen is not None
        _segmenter(package, output, chosen, pictures, short_sides, as_json)
    else:
        forms = ["onnx", "openvino"] if form is Format.BOTH else [form.value]
        _files(package, output, forms, pictures, count, chosen, as_json)


def _files(
    package: ModelPackage,
    output: Path,
    forms: Sequence[str],
    pictures: Sequence[Picture],
    batch: int | None,
    calibrate: Sequence[Picture] | None,
    as_json: bool,
) -> None:
    from tools.export.writing import export_model

    done = export_model(package, output, forms, pictures, batch=batch, calibrate=calibrate)
    if as_json:
        _print_json(
            [
                {"format": d.form, "files": [str(f) for f in d.files], "difference": d.difference, "notes": d.notes}
                for d in done
            ]
        )
        return
    for one in done:
        _print_sizes(one.files)
        for engine, difference in one.difference.items():
            typer.echo(f"  by {engine}: within {difference:.1e} of torch on {len(pictures)} pictures")
        for note in one.notes:
            typer.echo(f"  {note}")


def _segmenter(
    package: ModelPackage,
    output: Path,
    calibrate: Sequence[Picture],
    pictures: Sequence[Picture],
    short_sides: Sequence[int] | None,
    as_json: bool,
) -> None:
    from tools.export.int8_segmenter import export_int8_segmenter

    done = export_int8_segmenter(package, output, calibrate, pictures, short_sides)
    if as_json:
        agreement = done.agreement.model_dump()
        _print_json([{"format": "openvino", "files": [str(f) for f in done.files], "int8": agreement}])
        return
    _print_sizes(done.files)
    typer.echo(f"  compared {done.agreement}")
    typer.echo(f"  to use it: --set model.segmenter={output} --precision int8")


def _print_json(body: object) -> None:
    import json

    typer.echo(json.dumps(body))


def _print_sizes(files: Sequence[Path]) -> None:
    for file in files:
        typer.echo(f"{file}  {file.stat().st_size / 1e6:.1f} MB")


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"--batch is dynamic, or a number of pictures, not {text!r}")
    return int(text)
