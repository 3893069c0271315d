"""The video that a timeline belongs to: its size, rate and first time, and small pictures from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from streamer.errors import SourceError
from streamer.frame import Picture
from streamer.sources._colour import RgbConverter
from streamer.sources._ffmpeg import open_file, reason, video_stream


@dataclass(frozen=True, slots=True)
class Film:
    """What is known of a video.

    Attributes:
        path: the file.
        width, height: of its upright pictures, in pixels.
        time_base: seconds per unit of pts.
        rate: mean frames per second, if known.
        start: where the file's own clock starts, in seconds. FFmpeg and most players show that as 0:00, while browsers
            show the file's own clock; the two differ only in files that start late.
    """

    path: Path
    width: int
    height: int
    time_base: Fraction
    rate: Fraction | None
    start: Fraction


def read_film(path: Path) -> Film:
    """Look at a video.

    Raises:
        SourceError: it is missing, or no video.
    """
    if not path.exists():
        raise SourceError(f"no video at {path}")
    with open_file(str(path)) as container:
        stream = video_stream(container, str(path))
        first = next(_frames(container, stream), None)
        if first is None or stream.time_base is None:
            raise SourceError(f"{path}: none of its pictures can be decoded")
        height, width = RgbConverter()(first, stream.codec_context.name).shape[:2]
        start = Fraction(container.start_time or 0, av.time_base)
        return Film(path, width, height, stream.time_base, stream.average_rate or None, start)


def thumbnails(film: Film, times: Sequence[Fraction], size: tuple[int, int]) -> list[Picture]:
    """One picture of the film for each time.

    Args:
        film: the video.
        times: in seconds from the start of the video.
        size: width and height of the pictures, in pixels.

    Raises:
        SourceError: the video cannot be read.
    """
    found = []
    with open_file(str(film.path)) as container:
        stream = video_stream(container, str(film.path))
        for at in times:
            picture = _picture_at(container, stream, film, at)
            found.append(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8))
    return found


def _picture_at(container: InputContainer, stream: VideoStream, film: Film, at: Fraction) -> Picture:
    """The picture that stands at a time: the last one that does not begin later."""
    target = (at + film.start) / film.time_base
    best = None
    try:
        container.seek(int(target), stream=stream)
        for frame in _frames(container, stream):
            if best is not None and (frame.pts or 0) > target:
                break
            best = frame
    except av.FFmpegError as error:
        raise SourceError(f"{film.path}: cannot go to {float(at):.1f} s ({reason(error)})") from None
    if best is None:
        raise SourceError(f"{film.path} has no picture at {float(at):.1f} s; is it the video of these labels?")
    return RgbConverter()(best, stream.codec_context.name)


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """The frames from where the container stands; damaged ones are passed over."""
    for packet in container.demux(stream):
        try:
            yield from stream.codec_context.decode(packet)
        except av.error.InvalidDataError:
            continue
