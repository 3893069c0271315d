"""`<stem>.annotated.<ext>`: every frame with its overlay, at its own time, beside the recording's sound and subtitles.

- pts are the input's, so a variable rate stays variable and a start after zero stays where it is (`FilmClock`).
- Each segment is a file of its own among the job's parts; `close` joins them (`streamer.joining`).
- Frames of another size than the source's first are scaled to that.
- Odd sizes grow to even ones (see `streamer.mp4`).
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from pydantic import Field

from config.plugins import PluginParams
from streamer.colour_tags import ColourTags
from streamer.encoders import AUTO, Encoder, choose_encoder
from streamer.files import PendingFile, output_errors, to_disk
from streamer.film_clock import FilmClock
from streamer.joining import Film, join
from streamer.mp4 import Mp4Writer
from streamer.overlay import Overlay
from streamer.recording import MP4
from streamer.sinks.base import Segment, Sink, Target
from streamer.sources.base import SourceInfo
from streamer.state import SceneState

_PART = "mp4"
"""Parts are MP4 whatever the film becomes: it takes any clock."""


class Params(PluginParams):
    """Parameters of the sink `video`."""

    encoder: str = Field(AUTO, description="FFmpeg's encoder; auto: H.264 in hardware where that works, else libx264")
    crf: int = Field(20, ge=0, le=51, description="constant quality as x264 counts it; lower is better and larger")
    preset: str | None = Field(None, description="speed of the encoder; default: veryfast, or its counterpart")


class VideoSink(Sink):
    """Encodes annotated frames, as H.264 in MP4 unless the parameters or the recording ask for something else.

    Args:
        target: the file's place, what frames show, and the recording whose streams are copied.
        params: encoder, quality and speed.

    Raises:
        OutputError: the encoder does not work here, or has no such preset.
    """

    def __init__(self, target: Target, params: Params) -> None:
        self._recording = target.recording
        container = MP4 if self._recording is None else self._recording.container
        self._path = target.file(f"annotated.{container.suffix}")
        self._target = target
        self._encoder: Encoder = choose_encoder(params.encoder)
        self._params = params
        self._encoder.options(params.crf, params.preset)
        self._overlay = Overlay(target.overlay)
        self._pending: PendingFile | None = None
        self._own_parts: Path | None = None
        self._parts: list[Path] = []
        self._writer: Mp4Writer | None = None
        self._clock = FilmClock()
        self._film: Fraction | None = None
        self._rate: Fraction | None = None
        self._size = 0, 0

    def open(self, source: SourceInfo) -> None:
        """Make the unfinished file; a folder that takes no files is known before hours of work."""
        self._rate, self._size = source.frame_rate, (source.width, source.height)
        self._film = self._recording.film_time_base if self._recording else MP4.time_base(source.time_base)
        self._pending = PendingFile(self._path, self._target.parts)
        if self._target.parts is None:
            with output_errors(self._path):
                self._own_parts = Path(tempfile.mkdtemp(prefix=".scene-streamer-", dir=self._path.parent))
            self._target = replace(self._target, parts=self._own_parts)

    def recall(self, state: SceneState) -> None:
        """Go on after that frame."""
        self._place(state)

    def begin(self, segment: Segment) -> None:
        """Make room for the part of this segment; those before it, if they hold frames, are there already."""
        before = [self._target.part(number, _PART) for number in range(segment.number)]
        self._parts = [part for part in before if part.exists()]
        self._parts.append(self._target.part(segment.number, _PART))

    def write(self, state: SceneState) -> None:
        """Draw and encode one frame."""
        if not self._parts:
            self.begin(Segment())
        writer = self._writer or self._start()
        pts = self._place(state)
        writer.write(self._overlay.draw(_sized(state, writer.width, writer.height)), pts)

    def _place(self, state: SceneState) -> int:
        assert self._film is not None, "write comes after open"
        return self._clock.place(state.frame.pts, state.frame.time_base, state.frame.epoch, self._film)

    def _start(self) -> Mp4Writer:
        assert self._film is not None, "write comes after open"
        recording = self._recording
        self._writer = Mp4Writer(
            self._parts[-1],
            target=self._path,
            width=self._size[0],
            height=self._size[1],
            time_base=self._film,
            rate=self._rate,
            crf=self._params.crf,
            preset=self._params.preset,
            encoder=self._encoder,
            colour=recording.colour if recording else ColourTags(),
            sample_aspect=recording.sample_aspect if recording else None,
            index_in_front=False,
        )
        return self._writer

    def end(self, segment: Segment) -> None:  # noqa: ARG002 - it is the one that began
        """Complete the part."""
        if self._writer is None:
            self._parts.pop()
            return
        writer, self._writer = self._writer, None
        writer.close()
        with output_errors(self._path):
            to_disk(self._parts[-1])

    def close(self) -> list[Path]:
        """Join the parts into the film and move it to its place."""
        assert self._pending is not None and self._film is not None, "close comes after open"
        try:
            if self._writer is not None:
                self.end(Segment())
            if not self._clock.pts:
                return []
            film = Film(self._parts, self._clock.pts, self._film, self._clock.shifts)
            join(film, self._recording, self._pending.path, self._path)
            return [self._pending.commit()]
        finally:
            self._discard()

    def abort(self) -> None:
        """Remove the unfinished file."""
        if self._writer is not None:
            self._writer.abandon()
        self._discard()

    def _discard(self) -> None:
        if self._pending is not None:
            self._pending.discard()
        if self._own_parts is not None:
            shutil.rmtree(self._own_parts, ignore_errors=True)


def _sized(state: SceneState, width: int, height: int) -> SceneState:
    frame = state.frame
    if (frame.width, frame.height) == (width, height):
        return state
    smaller = frame.width * frame.height > width * height
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(frame.image, (width, height), interpolation=how), dtype=np.uint8)
    return replace(state, frame=replace(frame, image=scaled))


def build(params: Params, *, target: Target) -> Sink:
    """The sink `video`."""
    return VideoSink(target, params)
