"""Writes pictures as H.264 into MP4 with their own times: no frame rate, no rounding, variable rates stay variable."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from streamer.colour_tags import ColourTags
from streamer.encoders import LIBX264, Encoder
from streamer.errors import OutputError
from streamer.files import output_error
from streamer.frame import Picture

# The largest denominator of a time base that is kept. A sample's duration has 32 bits in MP4, so finer ticks than a
# microsecond would make a pause of seconds overflow.
_FINEST = 1_000_000
_LARGEST = 16_384


class Mp4Writer:
    """One video stream in one MP4 file (4:2:0, eight bits).

    A width or height that is odd grows by one pixel, its last column or row twice: yuv420p needs even sizes, and so
    nothing of the picture is lost.

    Args:
        path: the file to write.
        target: what to call it in errors, where `path` is a passing name.
        width, height: size of the pictures in pixels.
        time_base: seconds per unit of pts.
        rate: frames per second, if known; a hint to the encoder, never used for a time.
        crf: constant rate factor of x264; lower is better and larger.
        preset: the encoder's speed; None for its usual one.
        encoder: who encodes.
        colour: the stream's colour tags; the pictures are converted as they say.
        sample_aspect: width of a pixel by its height; None says nothing.
        index_in_front: so that players start before they have the whole file; costs writing it twice.

    Raises:
        OutputError: the file cannot be written, the pictures are too large, or the encoder does not work here.
    """

    def __init__(
        self,
        path: Path,
        *,
        target: Path,
        width: int,
        height: int,
        time_base: Fraction,
        rate: Fraction | None,
        crf: int,
        preset: str | None,
        encoder: Encoder = LIBX264,
        colour: ColourTags = ColourTags(),  # noqa: B008 - immutable
        sample_aspect: Fraction | None = None,
        index_in_front: bool = True,
    ) -> None:
        if max(width, height) > _LARGEST:
            raise OutputError(f"cannot write {target}: {width}x{height} is larger than H.264 takes ({_LARGEST} a side)")
        self._target = target
        self.time_base = kept_time_base(time_base)
        self.width, self.height = width, height
        self._encoder = encoder
        self._reformatter = VideoReformatter()
        self._conversion = colour.from_rgb(height)
        ticks = str(self.time_base.denominator)
        # The movie's own clock dates the start of the stream: as coarse as its default, a start would be rounded.
        options = {"video_track_timescale": ticks, "movie_timescale": ticks}
        if index_in_front:
            options["movflags"] = "+faststart"
        try:
            self._container = av.open(str(path), "w", format="mp4", options=options)
            self._stream = self._add_stream(rate or Fraction(25), encoder.options(crf, preset))
        except (FFmpegError, OSError) as error:
            raise output_error(target, error) from error
        colour.apply(self._stream.codec_context)
        if sample_aspect is not None:
            self._stream.codec_context.sample_aspect_ratio = sample_aspect

    def _add_stream(self, rate: Fraction, options: dict[str, str]) -> Any:
        name = self._encoder.name
        try:
            stream: Any = self._container.add_stream(name, rate=rate, options=options)
        except ValueError as error:  # UnknownCodecError
            raise OutputError(f"cannot write video: this FFmpeg has no {name}; reinstall the package av") from error
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        stream.pix_fmt = self._encoder.pix_fmt
        if self._encoder.tag is not None:
            stream.codec_context.codec_tag = self._encoder.tag
        stream.codec_context.time_base = stream.time_base = self.time_base
        return stream

    def write(self, picture: Picture, pts: int) -> None:
        """Append a picture (height×width×3 uint8 RGB); `pts` counts `self.time_base`, grows, and is not negative.

        Raises:
            OutputError: the disk does not take it.
        """
        frame = self._to_yuv(picture)
        frame.pts = pts
        frame.time_base = self.time_base
        try:
            self._container.mux(self._stream.encode(frame))
        except (FFmpegError, OSError) as error:
            raise output_error(self._target, error) from error

    def _to_yuv(self, picture: Picture) -> av.VideoFrame:
        height, width = picture.shape[:2]
        if height % 2 or width % 2:
            padded = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            picture = np.asarray(padded, dtype=np.uint8)
        # Borrowed, not copied: the conversion reads it once.
        rgb = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), format="rgb24")
        return self._reformatter.reformat(rgb, format=self._encoder.pix_fmt, **self._conversion)

    def close(self) -> None:
        """Write what the encoder still holds and the index.

        Raises:
            OutputError: the disk does not take it.
        """
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (FFmpegError, OSError) as error:
            self.abandon()
            raise output_error(self._target, error) from error

    def abandon(self) -> None:
        """Let the file go, whatever state it is in; may be called twice."""
        with contextlib.suppress(FFmpegError, OSError, ValueError):
            self._container.close()


def kept_time_base(time_base: Fraction) -> Fraction:
    """The time base that a file gets: the stream's own, or microseconds where that is finer."""
    return time_base if time_base.denominator <= _FINEST else Fraction(1, _FINEST)
