"""Writes a walkthrough: the video, and its truth beside it; both appear whole or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

from streamer.files import PendingFile, output_errors
from streamer.mp4 import Mp4Writer
from tools.walkthrough.planning import Walkthrough
from tools.walkthrough.rendering import ReadPicture, render
from tools.walkthrough.truth import Truth, truth_of, truth_path

_CRF, _PRESET = 18, "veryfast"

Progress = Callable[[int, int | None], None]
"""Takes the number of frames done and the number expected."""


def write_walkthrough(
    walkthrough: Walkthrough,
    read: ReadPicture,
    video: Path,
    on_progress: Progress | None = None,
    interrupted: threading.Event | None = None,
) -> Truth:
    """Render and encode a plan as H.264 in MP4, and write its truth to `truth_path(video)`.

    Args:
        walkthrough: the plan.
        read: gives the pictures.
        video: the file to write; former files there stay until the new ones are complete.
        on_progress: told after every frame.
        interrupted: ends the work when set.

    Returns:
        The truth as it was written.

    Raises:
        ManifestError: a picture cannot be read; no file is left.
        OutputError: a file cannot be written; none is left unfinished.
        KeyboardInterrupt: `interrupted` was set; no file is left.
    """
    truth = truth_of(walkthrough)
    with ExitStack() as stack:
        film, words = PendingFile(video), PendingFile(truth_path(video))
        for pending in (film, words):
            stack.callback(pending.discard)
        writer = _writer(walkthrough, film.path, video)
        stack.callback(writer.abandon)
        for done, (pts, _, frame) in enumerate(render(walkthrough, read), start=1):
            if interrupted is not None and interrupted.is_set():
                raise KeyboardInterrupt
            writer.write(frame, pts)
            if on_progress is not None:
                on_progress(done, truth.frames)
        writer.close()
        with output_errors(words.target):
            words.path.write_text(json.dumps(truth.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
        words.commit()
        film.commit()
    return truth


def _writer(walkthrough: Walkthrough, path: Path, target: Path) -> Mp4Writer:
    width, height = walkthrough.size
    mean = Fraction(len(walkthrough.pts)) / (walkthrough.segments[-1].end or 1)
    return Mp4Writer(
        path,
        target=target,
        width=width,
        height=height,
        time_base=walkthrough.time_base,
        rate=walkthrough.fps or mean.limit_denominator(1001),
        crf=_CRF,
        preset=_PRESET,
    )
