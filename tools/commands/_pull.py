"""What `models pull` and `datasets pull` have in common, and `models pull` itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from tools.zoo.download import Progress

Mirror = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="URL",
        envvar="SCENE_STREAMER_MIRROR",
        help="A web server that has the same paths as the public one, such as https://mirror.example/zoo.",
    ),
]
AcceptChange = Annotated[
    bool, typer.Option("--accept-change", help="Take a file that differs from its first download on this machine.")
]


def pull(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Public models; an unknown name lists the known ones.")
    ],
    mirror: Mirror = None,
    force: Annotated[bool, typer.Option("--force", help="Pull a model again that is there already.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the files as they were downloaded.")] = False,
    accept_change: AcceptChange = False,
    as_json: options.Json = False,
) -> None:
    """Fetch public models and convert them to safetensors; an interrupted download goes on where it was."""
    import json

    from tools.zoo.addresses import find_model

    for name in names:
        find_model(name)  # a wrong name is told before anything is fetched, or loaded

    from tools.zoo.pulling import Pulling, pull_model

    how = Pulling(mirror=mirror, force=force, keep=keep, accept_change=accept_change, show=byte_progress)
    reports = []
    for name in names:
        pulled = pull_model(name, how)
        reports.append({"name": name, "folder": str(pulled.package.folder), "fetched": pulled.fetched})
        if not as_json:
            was = "" if pulled.fetched else " was here already, checked:"
            typer.echo(f"{name}{was or ':'} {pulled.package.folder}")
    if as_json:
        typer.echo(json.dumps(reports))


@contextmanager
def byte_progress(name: str) -> Iterator[Progress]:
    """A bar of bytes on stderr."""
    from tools.progress import CountProgress

    with CountProgress(name, "bytes") as progress:
        yield progress
