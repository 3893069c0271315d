"""`scene-streamer annotate`: recordings, every frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from config.schema import Settings
    from tools.annotate import Annotation


def annotate(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Recordings, or folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")],
    config: options.Config = None,
    set_: options.Set = None,
    device: options.Device = None,
    backend: options.Backend = None,
    as_json: options.Json = False,
) -> None:
    """Annotate every frame of recordings: a video with overlay, a label a frame, a timeline of scenes."""
    settings = options.settings_from(config, set_, {"model.device": device, "model.backend": backend})

    from tools.live import interruption
    from tools.recordings import find_videos

    found = find_videos(videos)
    annotations: list[Annotation] = []
    try:
        with interruption() as interrupted:
            for annotation in _annotate_all(found, output, settings, interrupted):
                annotations.append(annotation)
                _print_result(annotation, as_json=as_json)
    finally:
        _report_problems(annotations)
    if any(annotation.problem for annotation in annotations):
        raise typer.Exit(1)


def _annotate_all(videos: list[Path], output: Path, settings: Settings, interrupted: Event) -> Iterator[Annotation]:
    """One recording after the other; what goes wrong with one does not keep the others from being done."""
    from streamer.app import recognizer_for
    from streamer.errors import SceneStreamerError, StuckError
    from tools.annotate import Annotation, annotate_file
    from tools.progress import CountProgress

    recognizer = recognizer_for(settings.model)
    for video in videos:
        try:
            with CountProgress(video.name, "frames") as on_progress:
                annotation = annotate_file(video, output, settings, recognizer, on_progress, interrupted)
        except StuckError:
            raise
        except SceneStreamerError as error:
            annotation = Annotation(video, problem=str(error))
        yield annotation


def _print_result(annotation: Annotation, *, as_json: bool) -> None:
    if as_json:
        import json

        body = {
            "video": str(annotation.video),
            "files": [str(path) for path in annotation.files],
            "frames": annotation.frames,
            "damaged": annotation.damaged,
            "problem": annotation.problem,
        }
        typer.echo(json.dumps(body))
        return
    for path in annotation.files:
        typer.echo(path)
    if annotation.damaged:
        typer.echo(f"{annotation.video}: {annotation.damaged} damaged frames could not be decoded", err=True)


def _report_problems(annotations: list[Annotation]) -> None:
    failed = [annotation for annotation in annotations if annotation.problem]
    for annotation in failed:
        name, problem = str(annotation.video), str(annotation.problem)
        typer.secho(problem if name in problem else f"{name}: {problem}", fg=typer.colors.RED, err=True)
    if failed:
        typer.echo(f"{len(failed)} of {len(annotations)} recordings had problems", err=True)
