"""Decoding by an NVIDIA GPU (NVDEC), through FFmpeg; where that is not to be had, the processor decodes."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Literal

import av
from av.codec.hwaccel import HWAccel
from av.video.stream import VideoStream

__all__ = ["HardwareDecoding", "accelerator", "check_codec", "nvdec_fault"]

HardwareDecoding = Literal["auto", "off", "cuda"]

_log = logging.getLogger(__name__)


def accelerator(wanted: HardwareDecoding) -> HWAccel | None:
    """What `av.open` takes as `hwaccel`; None is the processor.

    `auto` takes NVDEC where it is; `cuda` asks for it, and the log says once if it is not there. A codec that NVDEC
    does not know is decoded by the processor; see `check_codec`.
    """
    if wanted == "off":
        return None
    if fault := nvdec_fault():
        if wanted == "cuda":
            _report(fault)
        return None
    return HWAccel("cuda", allow_software_fallback=True)


def check_codec(wanted: HardwareDecoding, stream: VideoStream) -> None:
    """Let the log say, once for each codec, if NVDEC is asked for and does not decode this stream."""
    if wanted == "cuda" and nvdec_fault() is None and not stream.codec_context.is_hwaccel:
        _report(f"the NVIDIA decoder here does not take {stream.codec_context.name}")


@lru_cache(maxsize=1)
def nvdec_fault() -> str | None:
    """Why NVDEC cannot be used on this computer, in words; None if it can. Looked up once."""
    try:
        HWAccel("cuda").create(av.Codec("h264", "r"))
    except (av.FFmpegError, OSError):  # its own reason, "operation not permitted", is no help
        return "FFmpeg finds no NVIDIA decoder (no GPU, or its driver is not installed)"
    except (ValueError, RuntimeError, NotImplementedError):
        return "this build of PyAV knows no NVIDIA decoder"
    return None


@lru_cache(maxsize=64)
def _report(fault: str) -> None:
    _log.warning("capture.hardware_decoding=cuda: %s; videos are decoded by the processor", fault)
