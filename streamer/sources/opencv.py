"""Cameras through OpenCV (V4L2 on Linux): PyAV's wheels have no camera input.

A camera tells no time of its own here: pts are the machine's monotonic clock since opening, in nanoseconds.
"""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from pydantic import PositiveFloat

from config.plugins import PluginParams
from streamer.errors import SourceError, SourceLost
from streamer.frame import Picture
from streamer.sources.base import Decoded, Source, SourceInfo

_TIME_BASE = Fraction(1, 1_000_000_000)


class Params(PluginParams):
    """How long a camera may be silent."""

    read_timeout_s: PositiveFloat = 3.0


def build(params: Params, *, uri: str, name: str) -> OpenCVSource:
    """The source for a camera; `uri` is /dev/videoN. Raises SourceError at once where there is none."""
    check_device(uri)
    return OpenCVSource(params, uri, name)


class OpenCVSource(Source):
    """A camera. Ends by `SourceLost` when it is unplugged or silent."""

    def __init__(self, params: Params, uri: str, name: str) -> None:
        super().__init__(name, uri)
        self.clock = "arrival"
        self._params = params
        self._camera: cv2.VideoCapture | None = None
        self._first: Decoded | None = None
        self._opened_ns = 0

    def close(self) -> None:
        """Let go of the camera."""
        if self._camera is not None:
            self._camera.release()
            self._camera = None

    def _open(self) -> SourceInfo:
        self.close()
        check_device(self.uri)
        self._opened_ns = time.monotonic_ns()
        with _quiet():
            self._camera = self._start()
            # The properties of some drivers are wrong until the first picture is there.
            self._first = self._grab(-1)
        if self._first is None:
            self.close()
            raise SourceError(f"{self.uri} gives no picture; another program may hold it: close that, or replug it")
        height, width = self._first.image.shape[:2]
        return SourceInfo(self.name, self.uri, True, width, height, _TIME_BASE, self._frame_rate())

    def _start(self) -> cv2.VideoCapture:
        # V4L2 waits for a picture for whole seconds, 10 unless told otherwise; only the environment can tell.
        os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(math.ceil(self._params.read_timeout_s))
        number = re.search(r"\d+$", self.uri)
        camera = cv2.VideoCapture(int(number[0]) if number else self.uri, _backend())
        if not camera.isOpened():
            camera.release()
            raise SourceError(f"{self.uri} cannot be opened: another program may hold it, or it is no camera")
        camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the freshest picture, not the oldest; a wish that drivers may ignore
        return camera

    def _frame_rate(self) -> Fraction | None:
        rate = self._camera.get(cv2.CAP_PROP_FPS) if self._camera is not None else 0.0
        return Fraction(rate).limit_denominator(1001) if math.isfinite(rate) and 0 < rate < 1000 else None

    def _decode(self) -> Iterator[Decoded]:
        shot, self._first = self._first, None
        while shot is not None:
            yield shot
            if self._camera is None:
                return
            shot = self._grab(shot.pts)
        raise SourceLost(f"{self.uri} gives no more pictures; is it still plugged in?")

    def _grab(self, last_pts: int) -> Decoded | None:
        if self._camera is None:
            return None
        good, bgr = self._camera.read()
        if not good or bgr is None or bgr.size == 0:
            return None
        pts = max(time.monotonic_ns() - self._opened_ns, last_pts + 1)
        return Decoded(_rgb(bgr), pts, _TIME_BASE, time.time_ns())


def check_device(device: str) -> None:
    """Raise SourceError where `device` does not exist or may not be read; says which cameras there are."""
    path = Path(device)
    if sys.platform != "linux":
        return
    if not path.exists():
        cameras = sorted(str(p) for p in Path("/dev").glob("video*"))
        there = f"there are {', '.join(cameras)}" if cameras else "this machine has none; plug one in"
        raise SourceError(f"no camera {device}: {there}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"no permission for {device}: join the group that owns it (sudo usermod -aG video $USER)")


def _backend() -> int:
    return int(cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)


def _rgb(image: np.ndarray) -> Picture:
    if image.ndim == 2 or image.shape[2] == 1:
        code = cv2.COLOR_GRAY2RGB
    else:
        code = cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    return np.asarray(cv2.cvtColor(image, code), np.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV's own complaints about a camera go nowhere: the error that follows says it better."""
    log = cv2.utils.logging
    level = log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)
