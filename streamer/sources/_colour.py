"""A decoded video frame as upright RGB: colour matrix, range and rotation as the stream says.

Alpha is dropped: the colour under it is what players show. High dynamic range (PQ, HLG) is not tone-mapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from streamer.frame import Picture

# AVColorSpace, which `VideoFrame.colorspace` holds; swscale converts these. 0 is RGB, 2 unspecified.
_KNOWN_MATRICES = frozenset({1, 4, 5, 6, 7, 9})
_BT2020_CONSTANT = 10  # constant luminance, which swscale lacks; the other BT.2020 is close
_HD_LINES = 720
# Codecs whose grey has limited range unless the stream says otherwise; elsewhere (PNG, FFV1) grey is full.
_VIDEO_GREY = frozenset({"av1", "h264", "hevc", "libdav1d", "mpeg2video", "mpeg4", "vp8", "vp9"})

# Luma 16..235 onto 0..255 (BT.601, BT.709 and BT.2020 alike).
_EXPAND = np.clip(np.round((np.arange(256) - 16.0) * 255 / 219), 0, 255).astype(np.uint8)

Turn = Callable[[Picture], Picture]


class RgbConverter:
    """Converts frames; keeps swscale's tables between them. Belongs to one thread."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._matrix: bytes | None = None
        self._turn: Turn | None = None

    def __call__(self, frame: av.VideoFrame, codec: str) -> Picture:
        """The picture of `frame`, H×W×3 uint8 RGB, contiguous, turned as its display matrix says.

        Args:
            frame: any pixel format that swscale reads.
            codec: the decoder's name; tells the range of grey that is not tagged.
        """
        grey = frame.format.name.startswith("gray")
        picture = self._from_grey(frame, codec) if grey else self._from_colour(frame)
        turn = self._turn_of(frame)
        return np.ascontiguousarray(picture if turn is None else turn(picture))

    def _from_colour(self, frame: av.VideoFrame) -> Picture:
        form = frame.format
        in_yuv = len(form.components) >= 3 and not (form.is_rgb or form.has_palette)
        matrix = _matrix(frame.colorspace, frame.height) if in_yuv else None
        if matrix is not None:
            frame.colorspace = 2  # the tag would go on to the RGB picture, where swscale refuses some
        rgb = self._reformatter.reformat(frame, format="rgb24", src_colorspace=matrix, threads=1)
        return np.asarray(rgb.to_ndarray(), np.uint8)

    def _from_grey(self, frame: av.VideoFrame, codec: str) -> Picture:
        """Swscale takes every grey for full range, so limited range is expanded here."""
        tagged = frame.color_range
        limited = tagged == ColorRange.MPEG or (tagged == ColorRange.UNSPECIFIED and codec in _VIDEO_GREY)
        grey = np.asarray(self._reformatter.reformat(frame, format="gray", threads=1).to_ndarray(), np.uint8)
        return np.asarray(cv2.cvtColor(cv2.LUT(grey, _EXPAND) if limited else grey, cv2.COLOR_GRAY2RGB), np.uint8)

    def _turn_of(self, frame: av.VideoFrame) -> Turn | None:
        side = frame.side_data.get("DISPLAYMATRIX")
        if side is None:
            return None
        matrix = np.frombuffer(cast(Any, side), np.uint8).tobytes()
        if matrix != self._matrix:
            self._matrix, self._turn = matrix, turn_of(matrix)
        return self._turn


def _matrix(tag: int, height: int) -> int | None:
    """What swscale must be told about a frame's matrix; None where the frame's own tag will do."""
    if tag in _KNOWN_MATRICES:
        return None
    if tag == _BT2020_CONSTANT:
        return Colorspace.BT2020
    # Not tagged: as players do, BT.709 for high definition, BT.601 below.
    return Colorspace.ITU709 if height >= _HD_LINES else Colorspace.ITU601


def turn_of(matrix: bytes) -> Turn | None:
    """How to turn a picture upright by a display matrix; None if it is upright.

    Args:
        matrix: nine native 32-bit integers, rows (a b u) (c d v) (x y w): a point (x, y) of the stored picture is shown
            at (a x + c y, b x + d y). Angles other than quarter turns go to the nearest one; mirroring is kept.
    """
    a, b, _, c, d = (int(v) for v in np.frombuffer(matrix, np.int32)[:5])
    sideways = abs(b) + abs(c) > abs(a) + abs(d)
    flip_rows, flip_columns = (b < 0, c < 0) if sideways else (d < 0, a < 0)
    if not (sideways or flip_rows or flip_columns):
        return None
    axis = {(True, True): -1, (True, False): 0, (False, True): 1}.get((flip_rows, flip_columns))

    def turn(picture: Picture) -> Picture:
        # OpenCV turns a picture several times faster than NumPy copies a transposed view.
        turned = cv2.transpose(picture) if sideways else picture
        return np.asarray(turned if axis is None else cv2.flip(turned, axis), np.uint8)

    return turn
