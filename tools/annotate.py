"""Annotates a recording: every frame through the networks, into an annotated video, its labels and a timeline.

The work is done in segments of some seconds. Each is brought to the disk and entered in the job's journal when it is
complete, so that a job that was killed, by whatever, goes on after its last segment (`tools.annotation_journal`).
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config.schema import Settings
from models.recognizer import Recognizer
from streamer.encoders import AUTO, choose_encoder
from streamer.errors import SourceError
from streamer.recording import Recording, examine
from streamer.sinks.base import Target
from tools.annotation_job import Job, Progress
from tools.annotation_journal import Identity, Journal, Mode, parts_folder


@dataclass(frozen=True, slots=True)
class Options:
    """How a recording is annotated, beside the settings that live use has as well.

    Attributes:
        mode: what becomes of an unfinished job: `new` refuses, `resume` goes on with it, `restart` throws it away.
        video: parameters of the sink `video`: encoder, crf, preset.
        segment_s: seconds of the recording between two points from which a job can go on.
    """

    mode: Mode = "new"
    video: Mapping[str, object] = field(default_factory=dict)
    segment_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Annotation:
    """What became of one recording.

    Attributes:
        video: the recording.
        files: the results, whole.
        frames: how many frames they hold.
        damaged: frames that the decoder had to give up.
        problem: why the results are not all that was hoped for; None if they are.
        resumed: how many of the frames an earlier run had done.
        seconds: how long this run took.
        notes: what is not as in the recording: another container, a stream left out.
    """

    video: Path
    files: list[Path] = field(default_factory=list)
    frames: int = 0
    damaged: int = 0
    problem: str | None = None
    resumed: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


def annotate_file(
    video: Path,
    output: Path,
    settings: Settings,
    recognizer: Recognizer,
    on_progress: Progress | None = None,
    interrupted: threading.Event | None = None,
    options: Options = Options(),
) -> Annotation:
    """Annotate every frame of a recording.

    Decoding, networks and encoding run side by side: the first two in the threads of `open_stream`, the last here.

    Args:
        video: the recording.
        output: folder of the results; made if need be.
        settings: model, smoothing, overlay; the capture policy is always `every`, at full speed.
        recognizer: a loaded model.
        on_progress: told after every frame.
        interrupted: ends the work when set.
        options: what becomes of an unfinished job, and how the video is encoded.

    Returns:
        The results; of a recording that ends early they hold what was there, and `problem` says so.

    Raises:
        SourceError: the recording cannot be read.
        OutputError: a result cannot be written, or an unfinished job stands in the way.
        KeyboardInterrupt: `interrupted` was set.
            After any of these, the segments that are complete wait to be resumed; else no file is left.
    """
    began_s = time.monotonic()
    if video.exists() and not video.is_file():
        raise SourceError(f"{video} is not a recording")
    settings = _every_frame(settings)
    recording = examine(video, limited=settings.capture.max_frames is not None)
    if options.mode == "resume" and (files := _finished(video, output, recording, recognizer)):
        frames = json.loads(files[-1].read_text(encoding="utf-8"))["frames"]
        return Annotation(video, files, frames, resumed=frames, notes=("was done before",))
    params = {**options.video, "encoder": choose_encoder(str(options.video.get("encoder", AUTO))).name}
    identity = _identity(video, settings, recognizer, params)
    with Journal(parts_folder(output, video.stem), identity, options.mode, str(uuid.uuid4())) as journal:
        target = Target(output, video.stem, settings.overlay, journal.run, recording, journal.folder)
        job = Job(_address(video), settings, recognizer, journal, params, options.segment_s)
        done = job.run(target, _limited(on_progress, settings), interrupted)
        journal.remove()
    return Annotation(
        video,
        done.files,
        done.frames,
        done.damaged,
        done.problem,
        done.resumed,
        seconds=time.monotonic() - began_s,
        notes=recording.notes,
    )


def _finished(video: Path, output: Path, recording: Recording, recognizer: Recognizer) -> list[Path]:
    """The results of a recording that was annotated with this model since it last changed; none if it was not."""
    endings = (f"annotated.{recording.container.suffix}", "labels.jsonl", "timeline.json")
    files = [Target(output, video.stem).file(ending) for ending in endings]
    changed_s = video.stat().st_mtime
    if parts_folder(output, video.stem).exists() or not all(
        file.is_file() and file.stat().st_mtime >= changed_s for file in files
    ):
        return []
    try:
        model = json.loads(files[-1].read_text(encoding="utf-8"))["model"]
    except (ValueError, KeyError):
        return []
    return files if model["sha256"] == recognizer.package.weights_sha256 else []


def _identity(video: Path, settings: Settings, recognizer: Recognizer, params: Mapping[str, object]) -> Identity:
    """What must be the same for a job to go on: whatever its results depend on."""
    status, package = video.stat(), recognizer.package
    return {
        "recording": {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns},
        "model": {
            "name": package.manifest.name,
            "sha256": package.weights_sha256,
            "backend": recognizer.engine,
            "precision": settings.model.precision,
            "segmenter": recognizer.segmenter,
            "semantics": settings.model.semantics.model_dump(mode="json"),
        },
        "settings": {
            "smoother": settings.smoother.model_dump(mode="json"),
            "cut": settings.cut.model_dump(mode="json"),
            "cadence": settings.cadence.model_dump(mode="json"),
            "overlay": settings.overlay.model_dump(mode="json"),
            "capture.max_frames": settings.capture.max_frames,
        },
        "video": dict(params),
    }


def _limited(on_progress: Progress | None, settings: Settings) -> Progress:
    """`on_progress`, told of no more frames than the settings allow."""
    limit = settings.capture.max_frames

    def tell(done: int, expected: int | None) -> None:
        if on_progress is not None:
            on_progress(done, limit if expected is None else min(expected, limit or expected))

    return tell


def _every_frame(settings: Settings) -> Settings:
    capture = settings.capture.model_copy(update={"policy": "every", "realtime": False})
    return settings.model_copy(update={"capture": capture})


def _address(video: Path) -> str:
    """The path as an address that cannot be taken for anything but a file, even if it is called "0"."""
    return str(video) if video.is_absolute() else f"./{video}"
