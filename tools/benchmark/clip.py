"""The clip to measure on: a recording at another size or frame rate, and repeated until it is long enough.

With it anybody repeats a figure of 720p, or of 30 fps live, from any recording.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from config.errors import UserError
from config.schema import CaptureSettings
from streamer.address import open_source
from streamer.files import output_error
from streamer.frame import Picture
from streamer.mp4 import Mp4Writer

_log = logging.getLogger(__name__)

_CRF, _PRESET = 23, "veryfast"


def make_clip(
    uri: str,
    target: Path,
    *,
    size: tuple[int, int] | None = None,
    fps: Fraction | None = None,
    frames: int | None = None,
    limit: int | None = None,
) -> None:
    """Write the frames of a source as H.264 in MP4.

    Args:
        uri: a source that ends, unless `frames` or `limit` says when.
        target: the file to write.
        size: width and height in pixels; None keeps the source's.
        fps: frames are shown at this rate, none left out; None keeps their times.
        frames: as many, from the start again where the source has fewer; None for those of the source.
        limit: of the source, no more than its first so many; None for no limit.

    Raises:
        SourceError: the source cannot be opened or read.
        OutputError: the disk does not take it.
    """
    _log.info("making a clip of %s", uri)
    once = target.with_stem(f"{target.stem}-once")
    written = _transcode(uri, once, size, fps, limit or frames)
    if frames is None or written >= frames:
        once.replace(target)
        return
    _repeat(once, target, times=-(-frames // written))
    once.unlink()


def _transcode(uri: str, target: Path, size: tuple[int, int] | None, fps: Fraction | None, limit: int | None) -> int:
    """Write the source once; the number of its frames."""
    written, first = 0, 0
    with open_source(uri, None, CaptureSettings()) as source:
        info = source.open()
        width, height = size or (info.width, info.height)
        time_base, rate = (1 / fps, fps) if fps else (info.time_base, info.frame_rate)
        writer = Mp4Writer(
            target, target=target, width=width, height=height, time_base=time_base, rate=rate, crf=_CRF, preset=_PRESET
        )
        try:
            for frame in source.frames():
                first = frame.pts if written == 0 else first
                pts = written if fps else round((frame.pts - first) * frame.time_base / writer.time_base)
                writer.write(_sized(frame.image, width, height), pts)
                written += 1
                if written == limit:
                    break
        except BaseException:
            writer.abandon()
            raise
        writer.close()
    if written == 0:
        raise UserError(f"{info.uri} has no frames")
    return written


def _sized(picture: Picture, width: int, height: int) -> Picture:
    if picture.shape[:2] == (height, width):
        return picture
    method = cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), np.uint8)


def _repeat(clip: Path, target: Path, times: int) -> None:
    """The packets of a clip of ours, so many times in a row."""
    try:
        with av.open(str(target), "w") as film:
            stream, shift = None, 0
            for _ in range(times):
                end = shift
                with av.open(str(clip)) as container:
                    original = container.streams.video[0]
                    stream = stream or film.add_stream_from_template(original)
                    for packet in container.demux(original):
                        if packet.dts is None or packet.pts is None:
                            continue  # the empty one at the end
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        end = max(end, packet.pts + (packet.duration or 1))
                        film.mux(packet)
                shift = end
    except (av.FFmpegError, OSError) as error:
        raise output_error(target, error) from error
