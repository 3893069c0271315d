"""Annotates recordings: every frame through the networks, into an annotated video, its labels and a timeline."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from config.schema import Settings
from models.recognizer import Recognizer
from streamer.app import SceneStream, open_stream
from streamer.errors import SourceError, TruncatedError, UserError
from streamer.sinks import SINKS
from streamer.sinks.base import Segment, Sink, Target

SINK_NAMES = ("video", "jsonl", "timeline")
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"}
    | {".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
_RESULT = ".annotated"

Progress = Callable[[int, int | None], None]
"""Takes the number of frames done and the number expected, None if that is not known."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What became of one recording.

    Attributes:
        video: the recording.
        files: the results, whole.
        frames: how many frames they hold.
        damaged: frames that the decoder had to give up.
        problem: why the results are not all that was hoped for; None if they are.
    """

    video: Path
    files: list[Path] = field(default_factory=list)
    frames: int = 0
    damaged: int = 0
    problem: str | None = None


def annotate_file(
    video: Path,
    output: Path,
    settings: Settings,
    recognizer: Recognizer,
    on_progress: Progress | None = None,
    interrupted: threading.Event | None = None,
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

    Returns:
        The results; of a recording that ends early they hold what was there, and `problem` says so.

    Raises:
        SourceError: the recording cannot be read; no file is left.
        OutputError: a result cannot be written; no file is left unfinished.
        KeyboardInterrupt: `interrupted` was set; no file is left.
    """
    if video.exists() and not video.is_file():
        raise SourceError(f"{video} is not a recording")
    target = Target(output, video.stem, settings.overlay, run=str(uuid.uuid4()))
    with ExitStack() as stack:
        sinks = [stack.enter_context(SINKS.build(name, {}, target=target)) for name in SINK_NAMES]
        stream = stack.enter_context(
            open_stream(_address(video), settings=_every_frame(settings), recognizer=recognizer)
        )
        frames, damaged, problem = _fill(sinks, stream, _limited(on_progress, settings), interrupted)
        files = [path for sink in sinks for path in sink.close()]
    return Annotation(video, files, frames, damaged, problem)


def _fill(
    sinks: Sequence[Sink], stream: SceneStream, on_progress: Progress, interrupted: threading.Event | None
) -> tuple[int, int, str | None]:
    """Give every state to every sink; the numbers of frames and of damaged frames, and what went wrong."""
    segment, frames, damaged, problem = Segment(), 0, 0, None
    for sink in sinks:
        sink.open(stream.info)
        sink.begin(segment)
    try:
        for state in stream:
            if interrupted is not None and interrupted.is_set():
                raise KeyboardInterrupt
            for sink in sinks:
                sink.write(state)
            frames, damaged = frames + 1, state.drops.decode
            on_progress(frames, stream.info.frame_count)
    except TruncatedError as error:
        problem = str(error)
    if frames == 0:
        raise SourceError(problem or f"{stream.info.uri} has no frames")
    for sink in sinks:
        sink.end(segment)
    return frames, damaged, problem


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


def find_videos(paths: Iterable[Path]) -> list[Path]:
    """The recordings that are meant: files as they are, folders by what they hold (not their subfolders).

    Results of this command are not taken up again when their folder is named.

    Raises:
        UserError: a folder without recordings, or two recordings whose results would have the same names.
    """
    videos: dict[Path, Path] = {}
    for path in paths:
        for video in _in_folder(path) if path.is_dir() else [path]:
            videos.setdefault(video.resolve(), video)
    _check_stems(videos.values())
    return list(videos.values())


def _in_folder(folder: Path) -> list[Path]:
    inside = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    found = [path for path in inside if not path.stem.endswith(_RESULT) and not path.name.startswith(".")]
    if not found:
        raise UserError(f"{folder} holds no recordings ({', '.join(sorted(VIDEO_SUFFIXES))})")
    return found


def _check_stems(videos: Iterable[Path]) -> None:
    seen: dict[str, Path] = {}
    for video in videos:
        # Without regard to case: some disks have none.
        other = seen.setdefault(video.stem.casefold(), video)
        if other is not video:
            raise UserError(
                f"{other} and {video} would both become {video.stem}{_RESULT}.mp4; "
                "annotate them one by one with different -o folders, or rename one"
            )
