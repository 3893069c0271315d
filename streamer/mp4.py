"""Writes H.264 into MP4 with the pictures' own times: no frame rate, no rounding, variable rates stay variable."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from streamer.errors import OutputError
from streamer.files import output_error
from streamer.frame import Picture

# The largest denominator of a time base that is kept. A sample's duration has 32 bits in MP4, so finer ticks than a
# microsecond would make a pause of seconds overflow.
_FINEST = 1_000_000
_LARGEST = 16_384
_BT709 = 1
"""The number of BT.709 in every table of colour tags (ISO/IEC 23091-2), and FFmpeg's of limited range."""


class Mp4Writer:
    """One H.264 stream in one MP4 file (yuv420p, BT.709, limited range; its index in front).

    A width or height that is odd grows by one pixel, its last column or row twice: yuv420p needs even sizes, and so
    nothing of the picture is lost.

    Args:
        path: the file to write.
        target: what to call it in errors, where `path` is a passing name.
        width, height: size of the pictures in pixels.
        time_base: seconds per unit of pts.
        rate: frames per second, if known; a hint to the encoder, never used for a time.
        crf: constant rate factor of x264; lower is better and larger.
        preset: x264's speed.

    Raises:
        OutputError: the file cannot be written, the pictures are too large, or FFmpeg here has no libx264.
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
        preset: str,
    ) -> None:
        if max(width, height) > _LARGEST:
            raise OutputError(f"cannot write {target}: {width}x{height} is larger than H.264 takes ({_LARGEST} a side)")
        self._target = target
        self.time_base = kept_time_base(time_base)
        self.width, self.height = width, height
        self._reformatter = VideoReformatter()
        ticks = str(self.time_base.denominator)
        # The movie's own clock dates the start of the stream: as coarse as its default, a start would be rounded.
        options = {"movflags": "+faststart", "video_track_timescale": ticks, "movie_timescale": ticks}
        try:
            self._container = av.open(str(path), "w", format="mp4", options=options)
            self._stream = self._add_stream(rate or Fraction(25), crf, preset)
        except (FFmpegError, OSError) as error:
            raise output_error(target, error) from error

    def _add_stream(self, rate: Fraction, crf: int, preset: str) -> Any:
        try:
            stream: Any = self._container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": preset})
        except ValueError as error:  # UnknownCodecError
            raise OutputError("cannot write video: this FFmpeg has no libx264; reinstall the package av") from error
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.time_base = stream.time_base = self.time_base
        codec.colorspace = codec.color_primaries = codec.color_trc = codec.color_range = _BT709
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
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        return self._reformatter.reformat(
            rgb,
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            dst_colorspace=Colorspace.ITU709,
        )

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
