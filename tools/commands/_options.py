"""Options that several commands share, and how they become settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from config.schema import Settings

Config = Annotated[
    str | None,
    typer.Option("--config", "-c", metavar="F", help="YAML file, or a preset: default, webcam, rtsp, recording."),
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
    typer.Option("--backend", metavar="B", help="auto, openvino or torch."),
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


def _scalar(value: Any) -> str:
    # JSON is YAML, and quotes what a bare scalar would change: an address with a colon, a device called "1".
    import json

    return json.dumps(value)
