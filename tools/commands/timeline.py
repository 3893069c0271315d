"""`scene-streamer timeline`: recorded labels become tables, chapters, an edit list, pictures and a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def timeline(
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="Written by `annotate` or by `watch`, .jsonl or .mcap.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")],
    video: Annotated[
        Path | None, typer.Option("--video", metavar="V", help="The recording, or the annotated one.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--formats", metavar="A,B", help="csv,edl,ffmetadata,html,json,strip,summary,vtt, or all.")
    ] = "all",
    chapters: Annotated[
        Path | None, typer.Option("--chapters", metavar="OUT", help="Also copy the video to OUT, with chapters.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="S", help="Whose labels, if the file has several sources.")
    ] = None,
) -> None:
    """Write the timeline of recorded labels: scenes with start, end and confidence, unknown times, cuts."""
    from tools.timeline.writing import format_names, stem_of

    names = format_names(formats)
    if chapters is not None and video is None:
        raise typer.BadParameter("--chapters needs --video, the video to copy")

    from tools.timeline.chapters import add_chapters
    from tools.timeline.recording import read_recording
    from tools.timeline.writing import write_recording

    recording = read_recording(labels, video, source)
    for path in write_recording(recording, output, stem_of(labels), names):
        typer.echo(path)
    if chapters is not None and video is not None:
        add_chapters(video, chapters, recording.timeline)
        typer.echo(chapters)
