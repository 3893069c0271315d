"""`scene-streamer annotate`: recordings, every frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from tools.annotate import Annotation
    from tools.annotation_batch import Order
    from tools.annotation_extras import Extras

_Encoder = Annotated[
    str,
    typer.Option(
        "--video-encoder",
        metavar="E",
        help="auto (H.264 in hardware where that works, else libx264), libx264, libx265, h264_nvenc, h264_qsv...",
    ),
]
_Crf = Annotated[int, typer.Option("--crf", min=0, max=51, help="Quality of the video; lower is better and larger.")]
_Preset = Annotated[
    str | None, typer.Option("--preset", metavar="P", help="Speed of the encoder; veryfast, or its counterpart.")
]
_Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with unfinished jobs; leave what is done as it is; begin the rest.")
]
_Restart = Annotated[bool, typer.Option("--restart", help="Throw unfinished jobs away and begin anew.")]
_Segment = Annotated[
    float, typer.Option("--segment", min=0.1, metavar="S", help="Seconds of video that a killed job loses at most.")
]
_Jobs = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Recordings at once; one for every two cores.")
]
_Timeline = Annotated[
    str | None,
    typer.Option("--timeline", metavar="A,B", help="Timelines as well: csv, vtt, edl, strip, html...; all for each."),
]
_Chapters = Annotated[bool, typer.Option("--chapters", help="A chapter for each scene in the annotated video.")]
_Mcap = Annotated[bool, typer.Option("--mcap", help="The labels in MCAP as well, for Foxglove and the like.")]


def annotate(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Recordings, or folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")],
    config: options.Config = None,
    set_: options.Set = None,
    device: options.Device = None,
    backend: options.Backend = None,
    precision: options.Precision = None,
    encoder: _Encoder = "auto",
    crf: _Crf = 20,
    preset: _Preset = None,
    resume: _Resume = False,
    restart: _Restart = False,
    segment_s: _Segment = 30.0,
    jobs: _Jobs = None,
    timeline: _Timeline = None,
    chapters: _Chapters = False,
    mcap: _Mcap = False,
    as_json: options.Json = False,
) -> None:
    """Annotate every frame of recordings: a video with overlay, a label a frame, a timeline of scenes."""
    settings = options.settings_from(
        config, set_, {"model.device": device, "model.backend": backend, "model.precision": precision}
    )
    if resume and restart:
        raise typer.BadParameter("--resume goes on with what --restart throws away; give one of them")

    from streamer.encoders import choose_encoder
    from streamer.mcap_file import require_mcap
    from tools.annotate import Options
    from tools.annotation_batch import Order
    from tools.annotation_extras import Extras
    from tools.timeline.writing import format_names

    if mcap:
        require_mcap()
    # Chosen here once: a wrong name ends the command before the model is loaded, and all recordings get the same.
    chosen = choose_encoder(encoder)
    chosen.options(crf, preset)
    video: dict[str, Any] = {"encoder": chosen.name, "crf": crf, "preset": preset}
    extras = Extras(format_names(timeline) if timeline else (), chapters, mcap)
    choice = Options("resume" if resume else "restart" if restart else "new", video, segment_s)
    _annotate(videos, Order(output, settings, choice), jobs, extras, as_json=as_json)


def _annotate(videos: list[Path], order: Order, jobs: int | None, extras: Extras, *, as_json: bool) -> None:
    """Do it, print each result as it comes, and a report at the end, whatever the end."""
    from tools.annotation_batch import annotate_all, default_jobs
    from tools.annotation_report import json_line, table
    from tools.live import interruption
    from tools.progress import CountBars
    from tools.recordings import find_videos

    found = find_videos(videos)
    annotations: list[Annotation] = []

    def report() -> None:
        done = {annotation.video for annotation in annotations}
        typer.echo(table(annotations, [video for video in found if video not in done]), err=True)

    try:
        with interruption() as interrupted, CountBars("frames") as bars:
            jobs = jobs or default_jobs(len(found))
            for annotation in annotate_all(found, order, jobs, bars.show, interrupted):
                bars.done(annotation.video.name)
                annotation = extras.add_to(annotation)
                annotations.append(annotation)
                for line in [json_line(annotation)] if as_json else annotation.files:
                    typer.echo(line)
    except KeyboardInterrupt:
        report()
        raise
    report()
    problems = sum(annotation.problem is not None for annotation in annotations)
    if problems:
        typer.secho(f"{problems} of {len(annotations)} recordings had problems", fg=typer.colors.RED, err=True)
        raise typer.Exit(1)
