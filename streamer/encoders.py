"""Video encoders: what each is told for a quality and a speed, and which of them works on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.codec import CodecContext
from av.error import FFmpegError

from streamer.errors import OutputError

AUTO = "auto"
_X264_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_NVENC_PRESETS = tuple(f"p{n}" for n in range(1, 8))
_QSV_PRESETS = _X264_PRESETS[2:]
_TRIAL_SIDE = 256  # pixels; some hardware refuses smaller pictures


@dataclass(frozen=True, slots=True)
class Encoder:
    """One of FFmpeg's encoders.

    Attributes:
        name: FFmpeg's name.
        quality: its options for a constant quality on the scale of x264's constant rate factor, 0..51, lower is better.
        presets: its speeds, fastest first; none where it has no such.
        preset: its speed unless another is asked for.
        pix_fmt: the 4:2:0 layout of pictures that it takes.
        tag: the codec's tag in MP4 where FFmpeg's own choice is one that players refuse.
    """

    name: str
    quality: Callable[[int], Mapping[str, str]]
    presets: tuple[str, ...]
    preset: str
    pix_fmt: str = "yuv420p"
    tag: str | None = None

    def options(self, crf: int, preset: str | None) -> dict[str, str]:
        """Its options for a quality and a speed, None for its own.

        Raises:
            OutputError: it has no such preset.
        """
        if preset is not None and preset not in self.presets:
            raise OutputError(f"{self.name} has no preset {preset!r}; it has {', '.join(self.presets)}")
        return {**self.quality(crf), "preset": preset or self.preset}


def _nvenc(crf: int) -> dict[str, str]:
    return {"rc": "vbr", "cq": str(crf), "b": "0"}


def _qsv(crf: int) -> dict[str, str]:
    return {"global_quality": str(max(1, crf))}


def _x26(crf: int) -> dict[str, str]:
    return {"crf": str(crf)}


def _x265(crf: int) -> dict[str, str]:
    return {"crf": str(crf), "x265-params": "log-level=error"}


_ALL = (
    Encoder("h264_nvenc", _nvenc, _NVENC_PRESETS, "p4"),
    Encoder("h264_qsv", _qsv, _QSV_PRESETS, "veryfast", "nv12"),
    Encoder("libx264", _x26, _X264_PRESETS, "veryfast"),
    Encoder("libx265", _x265, _X264_PRESETS, "veryfast", tag="hvc1"),
    Encoder("hevc_nvenc", _nvenc, _NVENC_PRESETS, "p4", tag="hvc1"),
    Encoder("hevc_qsv", _qsv, _QSV_PRESETS, "veryfast", "nv12", tag="hvc1"),
)
ENCODERS: Mapping[str, Encoder] = {encoder.name: encoder for encoder in _ALL}
LIBX264 = ENCODERS["libx264"]
_HARDWARE = ("h264_nvenc", "h264_qsv")
"""Tried in this order by `auto`; the others change the codec, which is for the user to ask."""


def choose_encoder(name: str = AUTO) -> Encoder:
    """The encoder of that name; `auto` is an H.264 encoder in hardware where one really works, else libx264.

    Raises:
        OutputError: there is no such encoder, or it does not work here.
    """
    if name == AUTO:
        working = (ENCODERS[hardware] for hardware in _HARDWARE if trouble_with(ENCODERS[hardware]) is None)
        return next(working, LIBX264)
    encoder = ENCODERS.get(name)
    if encoder is None:
        raise OutputError(f"unknown video encoder {name!r}; known: {', '.join([AUTO, *ENCODERS])}")
    trouble = trouble_with(encoder)
    if trouble is not None:
        raise OutputError(
            f"the video encoder {name} does not work here ({trouble}); try --video-encoder {LIBX264.name}"
        )
    return encoder


def trouble_with(encoder: Encoder) -> str | None:
    """Why the encoder does not work on this machine, found by encoding a small picture; None if it does."""
    try:
        context: Any = CodecContext.create(encoder.name, "w")
        context.width = context.height = _TRIAL_SIDE
        context.pix_fmt, context.framerate, context.time_base = encoder.pix_fmt, Fraction(25), Fraction(1, 25)
        context.options = encoder.options(20, None)
        grey = np.full((_TRIAL_SIDE, _TRIAL_SIDE, 3), 128, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=encoder.pix_fmt)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        packets = [*context.encode(frame), *context.encode(None)]
    except (FFmpegError, OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None if packets else "it gives no data"
