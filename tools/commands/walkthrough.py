"""`scene-streamer walkthrough`: test videos made of labelled pictures, and how steady a model is on them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options
from tools.commands._steadiness import steadiness

if TYPE_CHECKING:
    from tools.walkthrough.timing import TransitionKind

walkthrough = typer.Typer(
    help="Make test videos of known truth out of labelled pictures, and measure a model on them.", no_args_is_help=True
)

walkthrough.command("steadiness")(steadiness)

_LARGEST_SIDE = 4096
_FASTEST = 240


@walkthrough.command("make")
def make(
    manifest: Annotated[
        Path, typer.Option("--manifest", "-m", metavar="CSV", help="Columns path and scene, and split if you like.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.mp4", help="Video; OUT.truth.json beside it.")],
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="Where the paths start from; the manifest's folder unless given."),
    ] = None,
    split: Annotated[str | None, typer.Option("--split", metavar="NAME", help="Only pictures of this split.")] = None,
    segments: Annotated[
        int | None, typer.Option("--segments", min=1, max=10_000, metavar="N", help="How many; one a scene.")
    ] = None,
    segment_seconds: Annotated[
        float, typer.Option("--segment-seconds", min=1, max=3600, metavar="S", help="Length of a segment.")
    ] = 20,
    scenes: Annotated[
        str | None, typer.Option("--scenes", metavar="A,B", help="Only these; all of the manifest unless given.")
    ] = None,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Of the frames, even numbers.")] = "640x360",
    fps: Annotated[str, typer.Option("--fps", metavar="F", help="Frames per second: 25, 29.97, 30000/1001.")] = "25",
    variable_rate: Annotated[
        bool, typer.Option("--variable-rate", help="Uneven intervals between the frames.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="S", help="The same seed makes the same video.")] = 0,
    transitions: Annotated[
        str, typer.Option("--transitions", metavar="A,B", help="Kinds to draw from.")
    ] = "cut,dissolve,slow",
) -> None:
    """Make a video of labelled pictures, each filmed as if by hand, and write down what it shows when."""
    from tools.data.manifest import PictureManifest
    from tools.live import interruption
    from tools.progress import CountProgress
    from tools.walkthrough.dealing import pictures_by_scene
    from tools.walkthrough.planning import Wishes, plan
    from tools.walkthrough.rendering import check_pictures, picture_reader
    from tools.walkthrough.truth import truth_path
    from tools.walkthrough.writing import write_walkthrough

    if output.suffix.lower() != ".mp4":
        raise typer.BadParameter(f"--output is the name of an MP4 file, OUT.mp4, not {str(output)!r}")
    wishes = Wishes(
        segments=segments,
        segment_seconds=Fraction(segment_seconds).limit_denominator(1000),
        size=_size(size),
        fps=_rate(fps),
        variable_rate=variable_rate,
        transitions=_kinds(transitions),
        seed=seed,
    )
    pictures = PictureManifest.read(manifest, root, split)
    planned = plan(pictures_by_scene(pictures, _listed("--scenes", scenes)), wishes)
    check_pictures(planned, pictures)
    with interruption() as interrupted, CountProgress(output.name, "frames") as on_progress:
        truth = write_walkthrough(planned, picture_reader(pictures), output, on_progress, interrupted)
    if planned.repeats:
        typer.echo(f"{planned.repeats} of {len(truth.shots)} shots repeat a picture: there are too few", err=True)
    typer.echo(f"{len(truth.segments)} segments, {len(truth.shots)} shots, {truth.frames} frames", err=True)
    typer.echo(output)
    typer.echo(truth_path(output))


@walkthrough.command("measure")
def measure(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Each with its .truth.json beside it.")],
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="A model that names scenes.")] = "scene18",
    backend: options.Backend = None,
    precision: options.Precision = None,
    device: options.Device = None,
    stride: Annotated[int, typer.Option("--stride", min=1, metavar="N", help="Look at each N-th frame only.")] = 1,
    cadence: Annotated[
        bool, typer.Option("--cadence", help="Reuse segmentations while little changes, as for live sources.")
    ] = False,
    set_: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Measure how right and how steady a model is, frame by frame and without smoothing."""
    from models import load_recognizer
    from models.cadence import Cadence
    from tools.live import interruption
    from tools.progress import CountProgress
    from tools.walkthrough.predicting import measure_video, read_truths, report

    reuse = options.settings_from(None, set_).cadence
    truths = read_truths(videos)
    recognizer = load_recognizer(
        model, backend=backend or "auto", device=device or "auto", precision=options.precision(precision)
    )
    measured = []
    with interruption() as interrupted:
        for video, truth in truths.items():
            with CountProgress(video.name, "frames") as on_progress:
                chosen = Cadence(reuse.threshold, reuse.max_age_s) if cadence else None
                measured.append(measure_video(recognizer, video, truth, stride, on_progress, interrupted, chosen))
    result = {"model": model, "stride": stride, **report(measured)}
    _print_json(result) if as_json else _print_tables(result)


def _print_json(result: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(result))


def _print_tables(result: dict[str, Any]) -> None:
    typer.secho(
        f"{'scene':<20} {'seconds':>8} {'accuracy':>9} {'flips':>7} {'a minute':>9} {'unknown':>8} {'flips':>7}"
        f" {'a minute':>9}",
        bold=True,
    )
    for name, row in {**result["scenes"], "all": result["overall"]}.items():
        typer.echo(
            f"{name:<20} {row['seconds']:>8.1f} {_figure(row['accuracy'], 9)} {_percent(row['flips'], 7)}"
            f" {_figure(row['flips_per_minute'], 9, 1)} {_percent(row['unknown'], 8)}"
            f" {_percent(row['unknown_flips'], 7)} {_figure(row['unknown_flips_per_minute'], 9, 1)}"
        )
    if result["reused"]:
        typer.echo(f"{result['reused']} of {result['frames']} frames with the segmentation of an earlier one")
    if len(result["videos"]) > 1:
        typer.echo("")
        for video in result["videos"]:
            row = video["overall"]
            typer.echo(
                f"{video['video']}: {video['frames']} frames, accuracy {_figure(row['accuracy'])},"
                f" {_figure(row['flips_per_minute'], 0, 1)} flips a minute"
            )


def _figure(value: float | None, width: int = 0, digits: int = 3) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.{digits}f}"


def _percent(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.1%}"


def _size(text: str) -> tuple[int, int]:
    """`640x360` as numbers."""
    width, _, height = text.lower().partition("x")
    sides = [int(side) for side in (width, height) if side.isascii() and side.isdecimal() and len(side) < 6]
    if len(sides) != 2 or any(side % 2 or not 16 <= side <= _LARGEST_SIDE for side in sides):
        raise typer.BadParameter(f"--size is two even numbers from 16 to {_LARGEST_SIDE}, 640x360, not {text!r}")
    return sides[0], sides[1]


def _rate(text: str) -> Fraction:
    """`25`, `29.97` or `30000/1001` as a fraction."""
    try:
        rate = Fraction(text).limit_denominator(1001)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 1 <= rate <= _FASTEST:
        raise typer.BadParameter(f"--fps is a number from 1 to {_FASTEST}, 25, 29.97 or 30000/1001, not {text!r}")
    return rate


def _kinds(text: str) -> tuple[TransitionKind, ...]:
    """`cut,slow` as kinds of transitions."""
    from tools.walkthrough.timing import TRANSITIONS

    wanted = _listed("--transitions", text) or []
    unknown = [kind for kind in wanted if kind not in TRANSITIONS]
    if unknown:
        raise typer.BadParameter(f"--transitions knows {', '.join(TRANSITIONS)}, not {unknown[0]!r}")
    return tuple(kind for kind in TRANSITIONS if kind in wanted)


def _listed(option: str, text: str | None) -> list[str] | None:
    """`a, b` as a list without repetitions; None stays None."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise typer.BadParameter(f"{option} is a list of names such as a,b, not {text!r}")
    return list(dict.fromkeys(parts))
