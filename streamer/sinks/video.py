"""`<stem>.annotated.mp4`: every frame with its overlay, at its own time.

- pts and time base are the input's, so a variable rate stays variable and a start after zero stays where it is.
- MP4 has no times before zero: a stream that starts there is moved so that it starts at zero.
- Where pts run backwards (a new epoch), the film goes on after its last frame instead.
- Frames of another size than the first are scaled to the first's.
- Odd sizes grow to even ones (see `streamer.mp4`).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from config.plugins import PluginParams
from config.schema import OverlaySettings
from streamer.errors import OutputError
from streamer.files import PendingFile
from streamer.mp4 import Mp4Writer
from streamer.overlay import Overlay
from streamer.sinks.base import Sink, Target
from streamer.sources.base import SourceInfo
from streamer.state import SceneState


class Params(PluginParams):
    """Parameters of the sink `video`."""

    crf: int = Field(20, ge=0, le=51, description="constant rate factor of x264; lower is better and larger")
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"] = "veryfast"


class VideoSink(Sink):
    """Encodes annotated frames as H.264 in MP4.

    Args:
        path: the file to write.
        params: quality and speed.
        overlay: what the frames show.
    """

    def __init__(self, path: Path, params: Params, overlay: OverlaySettings) -> None:
        self._path = path
        self._params = params
        self._overlay = Overlay(overlay)
        self._pending: PendingFile | None = None
        self._writer: Mp4Writer | None = None
        self._clock = FilmClock()
        self._rate: Fraction | None = None

    def open(self, source: SourceInfo) -> None:
        """Make the unfinished file; the encoder waits for the first frame, which alone knows its size."""
        self._rate = source.frame_rate
        self._pending = PendingFile(self._path)

    def write(self, state: SceneState) -> None:
        """Draw and encode one frame."""
        frame = state.frame
        writer = self._writer or self._start(state)
        pts = self._clock.place(frame.pts, frame.time_base, frame.epoch, writer.time_base)
        writer.write(self._overlay.draw(_sized(state, writer.width, writer.height)), pts)

    def _start(self, state: SceneState) -> Mp4Writer:
        assert self._pending is not None, "write comes after open"
        frame = state.frame
        self._writer = Mp4Writer(
            self._pending.path,
            target=self._path,
            width=frame.width,
            height=frame.height,
            time_base=frame.time_base,
            rate=self._rate,
            crf=self._params.crf,
            preset=self._params.preset,
        )
        return self._writer

    def close(self) -> list[Path]:
        """Finish the file and move it to its place."""
        assert self._pending is not None, "close comes after open"
        if self._writer is None:
            self._pending.discard()
            return []
        try:
            self._writer.close()
        except OutputError:
            self._pending.discard()
            raise
        return [self._pending.commit()]

    def abort(self) -> None:
        """Remove the unfinished file."""
        if self._writer is not None:
            self._writer.abandon()
        if self._pending is not None:
            self._pending.discard()


class FilmClock:
    """Where on the film each frame belongs: at its own pts, moved only where a file cannot hold that."""

    def __init__(self) -> None:
        self._offset: int | None = None
        self._epoch: int | None = None
        self._last: int | None = None
        self._step = 1

    def place(self, pts: int, time_base: Fraction, epoch: int, film: Fraction) -> int:
        """The frame's time in units of `film` seconds; larger than the one before."""
        own = pts if time_base == film else round(pts * time_base / film)
        if self._offset is None:
            self._offset = max(0, -own)
        elif epoch != self._epoch and self._last is not None:
            self._offset = self._last + self._step - own
        place = own + self._offset
        if self._last is not None:
            place = max(place, self._last + 1)  # times that fell together when a coarser clock took over
            self._step = place - self._last
        self._last, self._epoch = place, epoch
        return place


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
    return VideoSink(target.file("annotated.mp4"), params, target.overlay)
