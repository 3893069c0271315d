"""Runs a model over a walkthrough, frame by frame and without smoothing, and measures what it says."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from config.schema import CaptureSettings
from models.cadence import Cadence
from models.prediction import Prediction
from models.recognizer import Recognizer, Segmentation
from streamer.address import open_source
from streamer.errors import SourceError
from streamer.frame import Frame
from tools.walkthrough.measures import Tally, tally_scenes, total
from tools.walkthrough.truth import Truth, TruthError, read_truth, truth_path
from tools.walkthrough.writing import Progress


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model did on one video.

    Attributes:
        video: the file.
        frames: how many frames were looked at.
        tallies: by true scene.
        reused: for how many of them the segmentation of an earlier frame served.
    """

    video: Path
    frames: int
    tallies: dict[str, Tally]
    reused: int = 0


def called_unknown(recognizer: Recognizer, prediction: Prediction) -> bool:
    """Whether the model says that a picture shows none of its scenes."""
    return prediction.known < recognizer.package.manifest.calibration.unknown_threshold


def read_truths(videos: Sequence[Path]) -> dict[Path, Truth]:
    """The truth of each video.

    Raises:
        SourceError: a video is not there.
        TruthError: its truth is not, or cannot be read.
    """
    for video in videos:
        if not video.is_file():
            raise SourceError(f"no video at {video}")
    return {video: read_truth(truth_path(video)) for video in videos}


def measure_video(
    recognizer: Recognizer,
    video: Path,
    truth: Truth,
    stride: int = 1,
    on_progress: Progress | None = None,
    interrupted: threading.Event | None = None,
    cadence: Cadence | None = None,
) -> Measured:
    """Let a model name each frame, or each `stride`-th, and compare with the truth.

    With a cadence, segmentations are reused as in a run; of a joint model that is the whole answer.

    Raises:
        SourceError: the video cannot be read.
        TruthError: it has not the frames that its truth tells of.
        KeyboardInterrupt: `interrupted` was set.
    """
    pts: list[int] = []
    labels: list[int] = []
    unknown: list[bool] = []
    seen = reused = 0
    segmentation: Segmentation = None
    for seen, frame in enumerate(frames_of(video), start=1):
        if interrupted is not None and interrupted.is_set():
            raise KeyboardInterrupt
        if (seen - 1) % stride == 0:
            if cadence is not None and cadence.reuses(frame.image, frame.seconds, frame.epoch):
                reused += 1
            else:
                segmentation = recognizer.segment(frame.image)
            prediction = recognizer.predict_with(frame.image, segmentation)
            pts.append(round(frame.pts * frame.time_base / truth.tick))
            labels.append(int(prediction.probabilities.argmax()))
            unknown.append(called_unknown(recognizer, prediction))
        if on_progress is not None:
            on_progress(seen, truth.frames)
    if seen != truth.frames:
        raise TruthError(f"{truth_path(video)}: frames = {truth.frames}, but {video} has {seen}; make both again")
    tallies = tally_scenes(
        np.array(pts, np.int64), np.array(labels, np.int64), np.array(unknown, np.bool_), recognizer.labels, truth
    )
    return Measured(video, len(pts), tallies, reused)


def report(measured: Sequence[Measured]) -> dict[str, Any]:
    """All figures, ready for JSON: over all videos, by scene, and by video."""
    scenes = sorted({scene for one in measured for scene in one.tallies})
    by_scene = {scene: total(one.tallies[scene] for one in measured if scene in one.tallies) for scene in scenes}
    return {
        "frames": sum(one.frames for one in measured),
        "reused": sum(one.reused for one in measured),
        "overall": total(by_scene.values()).figures(),
        "scenes": {scene: tally.figures() for scene, tally in by_scene.items()},
        "videos": [
            {"video": str(one.video), "frames": one.frames, "overall": total(one.tallies.values()).figures()}
            for one in measured
        ],
    }


def frames_of(video: Path) -> Iterator[Frame]:
    """Every frame of a recording, in order; raises SourceError where it cannot be read."""
    # An address that cannot be taken for anything but a file, even if it is called "0".
    address = str(video) if video.is_absolute() else f"./{video}"
    with open_source(address, None, CaptureSettings()) as source:
        source.open()
        yield from source.frames()
