"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from config.schema import Precision as PrecisionName
    from config.schema import Settings
    from tools.data.manifest import PictureManifest

Config = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="F", help="YAML file, or a preset such as webcam, rtsp or recording."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change one setting; may be repeated."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="D", help="auto, cpu, cuda, cuda:N, or a device of OpenVINO."),
]
Backend = Annotated[
    str | None,
    typer.Option("--backend", metavar="B", help="auto, onnxruntime, openvino or torch."),
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", metavar="P", help="auto, f32, bf16 (CPU, CUDA), f16 (GPU), int8 (see `export`)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def settings_from(
    config: str | None, overrides: Sequence[str] | None, options: dict[str, Any] | None = None
) -> Settings:
    """Settings from a file or preset, then `--set`, then the command's own options ("bus.labels": value).

    An option that was not given (None) changes nothing. Raises ConfigError.
    """
    from config.loader import load_settings

    given = [f"{key}={_scalar(value)}" for key, value in (options or {}).items() if value is not None]
    return load_settings(config, [*(overrides or []), *given])


def precision(text: str | None) -> PrecisionName:
    """The value of `--precision`; None is `auto`.

    Raises:
        ConfigError: there is no such precision.
    """
    return settings_from(None, None, {"model.precision": text}).model.precision


def pixels(scales: str | None) -> tuple[int, ...] | None:
    """The value of `--scales`, "300,375", as numbers; None stays None.

    Raises:
        typer.BadParameter: it is no such list.
    """
    if scales is None:
        return None
    parts = [part.strip() for part in scales.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"--scales is a list of pixels such as 300,375,450, not {scales!r}")
    return tuple(int(part) for part in parts)


def pictures(dataset: str | None, manifest: Path | None, root: Path | None, split: str | None) -> PictureManifest:
    """The pictures that `--dataset` and `--root`, or `--manifest`, name.

    Raises:
        typer.BadParameter: both or neither was given, or a data set without its root.
        ManifestError: they are not there.
    """
    from tools.data.layouts import read_layout
    from tools.data.manifest import PictureManifest

    if (dataset is None) == (manifest is None):
        raise typer.BadParameter("give either --manifest CSV or --dataset NAME --root DIR")
    if manifest is not None:
        return PictureManifest.read(manifest, root, split)
    if root is None:
        raise typer.BadParameter("--dataset needs --root, the folder of the data set")
    assert dataset is not None
    return read_layout(dataset, root, split or "val")


def _scalar(value: Any) -> str:
    # JSON is YAML, and quotes what a bare scalar would change: an address with a colon, a device called "1".
    import json

    return json.dumps(value)
