"""`scene-streamer walkthrough steadiness`: smoothers and simple rules compared, from pictures to table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from models.recognizer import Recognizer
    from tools.steadiness.making import Part, Plan
    from tools.steadiness.methods import Case

_COLUMNS = (
    ("accuracy", "accuracy", 3),
    ("flips_per_minute", "flips/min", 2),
    ("delay_p50_s", "p50 s", 2),
    ("cut_delay_p95_s", "cut p95", 2),
    ("other_delay_p95_s", "other p95", 2),
    ("clear_cut_delay_p95_s", "cut p95*", 2),
    ("clear_other_delay_p95_s", "other p95*", 2),
    ("segment_f1", "F1", 3),
)


def steadiness(
    manifest: Annotated[
        Path, typer.Option("--manifest", "-m", metavar="CSV", help="Columns path, scene and split: train and val.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Videos, predictions and results; what is there stays."),
    ],
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="Where the paths start from; the manifest's folder unless given."),
    ] = None,
    part: Annotated[str, typer.Option("--part", metavar="P", help="val for figures, dev to choose settings.")] = "val",
    segments: Annotated[int, typer.Option("--segments", min=2, max=1000, metavar="N", help="How many in all.")] = 60,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="A model that names scenes.")] = "scene18",
    backend: options.Backend = None,
    device: options.Device = None,
    config: options.Config = None,
    set_: options.Set = None,
    tune: Annotated[
        str | None, typer.Option("--tune", metavar="KIND", help="Choose this smoother's parameters instead.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compare raw labels, smoothers and 'N in a row' on a fixed list of walkthroughs: accuracy, flips, delays, F1.

    Videos and predictions are made once; a table, DIR/steadiness-PART.json and .png are made of them.
    """
    from models import load_recognizer
    from tools.steadiness.making import Plan

    if part not in ("dev", "val"):
        raise typer.BadParameter(f"--part is dev or val, not {part!r}")
    settings = options.settings_from(config, set_)
    kind: Part = "dev" if part == "dev" else "val"
    wanted = Plan(part=kind, segments=segments)
    recognizer = load_recognizer(model, backend=backend or "auto", device=device or "auto")
    cases = _cases(manifest, root, output, wanted, recognizer, settings.cut)
    threshold = recognizer.package.manifest.calibration.unknown_threshold
    if tune is not None:
        _tune(tune, cases, threshold)
        return
    from tools.steadiness.report import compare, write_report

    result = {"model": model, "part": part, "segments": segments, **compare(cases, settings.smoother, threshold)}
    files = write_report(result, output, part)
    if as_json:
        import json

        typer.echo(json.dumps(result))
        return
    _print_table(result)
    for path in files:
        typer.echo(path)


def _cases(
    manifest: Path, root: Path | None, output: Path, wanted: Plan, recognizer: Recognizer, cut: Any
) -> list[Case]:
    """The videos of the list with their predictions; made where they are not there yet."""
    from tools.live import interruption
    from tools.progress import CountProgress
    from tools.steadiness.making import draw_list, make_list, pictures_of, video_names
    from tools.steadiness.methods import case_of
    from tools.steadiness.predicting import predict_video
    from tools.walkthrough.predicting import read_truths

    pictures = pictures_of(wanted.part, manifest, root)
    walks = draw_list(pictures, wanted)
    videos = video_names(output, wanted, len(walks))
    cases = []
    with interruption() as interrupted:
        with CountProgress(f"{wanted.part} videos", "frames") as on_progress:
            make_list(walks, pictures, videos, on_progress, interrupted)
        for video, truth in read_truths(videos).items():
            with CountProgress(video.name, "frames") as on_progress:
                predictions = predict_video(recognizer, video, truth, on_progress, interrupted)
            cases.append(case_of(predictions, truth, recognizer.labels, cut))
    return cases


def _tune(kind: str, cases: list[Case], threshold: float) -> None:
    from tools.steadiness.tuning import GRIDS, Trial, tune

    if kind not in GRIDS:
        raise typer.BadParameter(f"--tune knows {', '.join(GRIDS)}, not {kind!r}")

    def tell(trial: Trial) -> None:
        chosen = ", ".join(f"{name}={value}" for name, value in trial.params.items()) or "defaults"
        typer.echo(f"{trial.score:.4f}  {chosen}", err=True)

    best = tune(kind, cases, threshold, tell)
    for name, value in best.params.items():
        typer.echo(f"{name}: {value}")
    _print_table({"methods": {kind: best.figures}})


def _print_table(result: dict[str, Any]) -> None:
    typer.secho(f"{'method':<24}" + "".join(f"{title:>11}" for _, title, _ in _COLUMNS), bold=True)
    for name, row in result["methods"].items():
        cells = "".join(
            f"{'-':>11}" if row[key] is None else f"{row[key]:>11.{digits}f}" for key, _, digits in _COLUMNS
        )
        typer.echo(f"{name:<24}{cells}")
    if "raw" not in result["methods"]:
        return
    raw, cuts = result["methods"]["raw"], result["cuts"]
    typer.echo(
        f"{raw['changes']} changes of scene whose segment is mostly right raw; {raw['left_out']} others are left out;"
        " * if its first picture is as well"
    )
    typer.echo(
        f"cuts: {cuts['hard']} hard, recall {_share(cuts['hard_recall'])}, precision {_share(cuts['hard_precision'])};"
        f" {cuts['gradual']} gradual, {_share(cuts['gradual_recall'])}, {_share(cuts['gradual_precision'])}"
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
