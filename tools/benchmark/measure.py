"""The plan of a benchmark, and its parts in turn: stages, networks alone, whole runs, and what else is wished for."""

from __future__ import annotations

import logging
import math
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from config.errors import UserError
from config.schema import Settings
from models.cores import usable_cores
from models.recognizer import Recognizer
from streamer.address import open_source
from streamer.app import lane_count, lanes_of, recognizer_for
from streamer.sources.base import SourceInfo
from tools.benchmark.annotating import Annotating, measure_annotating
from tools.benchmark.baseline import Baseline, measure_baseline
from tools.benchmark.clip import make_clip
from tools.benchmark.machine import machine
from tools.benchmark.model_only import measure_model_only
from tools.benchmark.report import Report, Runs, efficiency_of, runs_of
from tools.benchmark.running import figures, follow
from tools.benchmark.soak import WARM_UP as SOAK_WARM_UP
from tools.benchmark.soak import Soak, measure_soak
from tools.benchmark.stages import StagesFigures, measure_stages
from tools.benchmark.streams import TRIAL_S, Capacity, Streams, find_capacity, measure_streams

_log = logging.getLogger(__name__)

_USUAL_FPS = Fraction(25)  # of live copies of a source that has no rate of its own


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        uri: the source.
        settings: model, backend, smoothing...
        frames: for the stages.
        repeats: of the whole runs, the networks alone and `annotate`.
        size: width and height of a clip to make of the source first; None measures on the source itself.
        fps: of live copies of the source; None takes its own.
        frames_subscriber: whether somebody subscribes to annotated frames during the runs.
        annotate: whether to measure `annotate`.
        streams: a number of live copies to run on; None for no such run.
        p95_ms: find the most live copies whose latency's 95th percentile stays under that; None does not.
        soak_frames: length of a long run; None for none.
        baseline_frames: frames of the baseline loop; None leaves it out.
    """

    uri: str
    settings: Settings
    frames: int = 200
    repeats: int = 3
    size: tuple[int, int] | None = None
    fps: Fraction | None = None
    frames_subscriber: bool = False
    annotate: bool = False
    streams: int | None = None
    p95_ms: float | None = None
    soak_frames: int | None = None
    baseline_frames: int | None = None


def measure(plan: Plan) -> Report:
    """Measure what the plan asks for. Clips that are needed are made in a folder that is gone afterwards.

    Raises:
        UserError: a source that is missing, damaged, endless or too short; a model that cannot be loaded; a run that
            failed, in its own words.
    """
    found = machine()  # first: its load is what others do
    with tempfile.TemporaryDirectory(prefix="scene-streamer-") as name:
        folder = Path(name)
        uri = _source(plan, folder)
        count = lane_count([uri], plan.settings)
        lanes = lanes_of(recognizer_for(plan.settings.model, count), count)
        recognizer = lanes[0]
        _log.info("stages, one after the other in one thread")
        stages = measure_stages(uri, plan.settings, recognizer, plan.frames)
        _check_ends(uri, stages.info, plan.settings)
        _log.info("the networks alone")
        model_only = measure_model_only(lanes, stages.pictures, plan.repeats)
        run = _runs(plan, uri)
        cpu_ms = stages.cpu_ms(drawing=plan.frames_subscriber)
        annotate = _annotate(plan, uri, recognizer)
        baseline = _baseline(plan, uri)
        streams = _streams(plan, uri, stages.info, folder)
        capacity = _capacity(plan, uri, stages.info, folder)
        soak = _soak(plan, uri, folder)
        return Report(
            machine=found,
            source=_describe(plan.uri, stages.info),
            model=_model(recognizer),
            stages=stages.stages,
            model_only=model_only,
            run=run,
            efficiency=efficiency_of(run.fps.median, cpu_ms, usable_cores(), model_only),
            annotate=annotate,
            streams=streams,
            capacity=capacity,
            soak=soak,
            age_limit_ms=_age_limit_ms(plan, stages) if soak is not None else None,
            baseline=baseline,
            ratios=None if baseline is None else _ratios(baseline, run, annotate),
        )


def _source(plan: Plan, folder: Path) -> str:
    """What to measure on: the source, or a clip of it at another size."""
    if plan.size is None:
        return plan.uri
    with open_source(plan.uri, None, plan.settings.capture) as source:
        _check_ends(plan.uri, source.open(), plan.settings)
    clip = folder / "clip.mp4"
    make_clip(plan.uri, clip, size=plan.size, limit=plan.settings.capture.max_frames)
    return str(clip)


def _check_ends(uri: str, info: SourceInfo, settings: Settings) -> None:
    endless = info.live or (info.frame_count is None and uri.startswith("synthetic:"))
    if endless and settings.capture.max_frames is None:
        raise UserError(f"{info.uri} never ends; say how many frames to measure: --set capture.max_frames=500")


def _runs(plan: Plan, uri: str) -> Runs:
    done = []
    for number in range(plan.repeats):
        _log.info("whole run %d of %d", number + 1, plan.repeats)
        done.append(figures(follow([uri], [], plan.settings, frames=plan.frames_subscriber)))
    return runs_of(done)


def _annotate(plan: Plan, uri: str, recognizer: Recognizer) -> Annotating | None:
    if not plan.annotate:
        return None
    _log.info("annotate")
    return measure_annotating(uri, plan.settings, recognizer, plan.repeats)


def _baseline(plan: Plan, uri: str) -> Baseline | None:
    if plan.baseline_frames is None:
        return None
    _log.info("the baseline loop, %d frames", plan.baseline_frames)
    return measure_baseline(uri, plan.baseline_frames)


def _streams(plan: Plan, uri: str, info: SourceInfo, folder: Path) -> Streams | None:
    if plan.streams is None:
        return None
    clip, fps = _live_clip(plan, uri, info, folder)
    _log.info("%d live streams", plan.streams)
    return measure_streams(clip, plan.streams, float(fps), plan.settings)


def _capacity(plan: Plan, uri: str, info: SourceInfo, folder: Path) -> Capacity | None:
    if plan.p95_ms is None:
        return None
    clip, fps = _live_clip(plan, uri, info, folder)
    return find_capacity(clip, float(fps), plan.p95_ms, plan.settings)


def _live_clip(plan: Plan, uri: str, info: SourceInfo, folder: Path) -> tuple[str, Fraction]:
    """A clip that plays for `TRIAL_S` at an even rate, and the rate."""
    fps = plan.fps or info.frame_rate or _USUAL_FPS
    clip = folder / "live.mp4"
    if not clip.exists():
        make_clip(uri, clip, fps=fps, frames=math.ceil(TRIAL_S * fps))
    return str(clip), fps


def _soak(plan: Plan, uri: str, folder: Path) -> Soak | None:
    if plan.soak_frames is None:
        return None
    if Path(uri).is_file():  # whatever else there is ends when it likes
        clip = folder / "long.mp4"
        make_clip(uri, clip, fps=plan.fps, frames=SOAK_WARM_UP + plan.soak_frames)
        uri = str(clip)
    _log.info("soak, %d frames", plan.soak_frames)
    return measure_soak(uri, plan.soak_frames, plan.settings)


def _age_limit_ms(plan: Plan, stages: StagesFigures) -> float | None:
    """Two inference times and one frame interval; None where nothing is dropped, since there frames queue."""
    info = stages.info
    rate = (plan.fps if Path(plan.uri).is_file() else None) or info.frame_rate
    if rate is None or not (info.live or plan.settings.capture.policy == "latest"):
        return None
    return round(2 * stages.inference_ms() + 1000 / float(rate), 1)


def _ratios(baseline: Baseline, run: Runs, annotate: Annotating | None) -> dict[str, float]:
    rates = {"run": run.fps, "annotated_frames": run.annotated_fps}
    if annotate is not None:
        rates["annotate"] = annotate.fps
    return {name: round(fps.median / baseline.fps, 1) for name, fps in rates.items() if fps is not None}


def _describe(uri: str, info: SourceInfo) -> dict[str, Any]:
    rate = None if info.frame_rate is None else round(float(info.frame_rate), 3)
    return {"uri": uri, "width": info.width, "height": info.height, "fps": rate, "frames": info.frame_count}


def _model(recognizer: Recognizer) -> dict[str, Any]:
    name = recognizer.package.manifest.name
    return {
        "name": name,
        "sha256": recognizer.package.weights_sha256,
        "engine": recognizer.engine,
        "device": recognizer.device,
        "device_name": _device_name(recognizer.device),
        "segmenter": recognizer.segmenter,
    }


def _device_name(device: str) -> str | None:
    """What a CUDA device is called; a CPU stands in `machine`."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.get_device_name(device)
