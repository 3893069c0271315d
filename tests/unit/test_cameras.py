"""The camera source, with OpenCV's camera replaced: times, colours, and errors that say what to do."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.errors import SourceError, SourceLost
from streamer.sources import opencv


class Camera:
    """Gives the pictures in `shots`; `None` is a failed grab."""

    shots: tuple[np.ndarray | None, ...] = ()
    opens = True

    def __init__(self, *_: object) -> None:
        self.left = iter(self.shots)

    def isOpened(self) -> bool:  # noqa: N802
        return self.opens

    def set(self, *_: object) -> bool:
        return False

    def get(self, _: int) -> float:
        return float("nan")

    def read(self) -> tuple[bool, np.ndarray | None]:
        shot = next(self.left, None)
        return shot is not None, shot

    def release(self) -> None:
        pass


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[Camera]:
    class Mine(Camera):
        pass

    monkeypatch.setattr(cv2, "VideoCapture", Mine)
    monkeypatch.setattr(opencv, "check_device", lambda device: None)
    monkeypatch.setenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")  # the source sets it; this restores it
    return Mine


def source() -> opencv.OpenCVSource:
    return opencv.build(opencv.Params(), uri="/dev/video0", name="camera0")


BLUE_BGR = np.full((4, 6, 3), (250, 20, 10), np.uint8)


@pytest.mark.parametrize(
    ("shot", "shown"),
    [
        (BLUE_BGR, (10, 20, 250)),
        (np.dstack([BLUE_BGR, np.zeros((4, 6), np.uint8)]), (10, 20, 250)),
        (np.full((4, 6), 90, np.uint8), (90, 90, 90)),
        (np.full((4, 6), 90 * 256 + 5, np.uint16), (90, 90, 90)),
    ],
)
def test_colours(camera: type[Camera], shot: np.ndarray, shown: tuple[int, int, int]) -> None:
    camera.shots = (shot,)
    with source() as it:
        it.open()
        frame = next(it.frames())
    assert frame.image.shape == (4, 6, 3)
    assert tuple(frame.image[0, 0]) == shown


def test_times_are_arrivals(camera: type[Camera]) -> None:
    camera.shots = (BLUE_BGR,) * 20
    with source() as it:
        info = it.open()
        frames = list(itertools.islice(it.frames(), 20))
    assert info.frame_rate is None
    assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))
    assert frames[-1].seconds < 5
    assert {f.clock for f in frames} == {"arrival"}


def test_unplugged(camera: type[Camera]) -> None:
    camera.shots = (BLUE_BGR, BLUE_BGR, None)
    with source() as it:
        it.open()
        frames = it.frames()
        next(frames)
        next(frames)
        with pytest.raises(SourceLost, match="still plugged in"):
            next(frames)


def test_busy(camera: type[Camera]) -> None:
    with pytest.raises(SourceError, match="gives no picture; another program may hold it"):
        source().open()
    camera.opens = False
    with pytest.raises(SourceError, match="cannot be opened"):
        source().open()


def test_missing_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(opencv.sys, "platform", "linux")
    with pytest.raises(SourceError, match=r"no camera .*video99"):
        opencv.build(opencv.Params(), uri=str(tmp_path / "video99"), name="x").open()
    (tmp_path / "video1").touch()
    monkeypatch.setattr(opencv.os, "access", lambda *_: False)
    with pytest.raises(SourceError, match="sudo usermod -aG video"):
        opencv.check_device(str(tmp_path / "video1"))
    assert capfd.readouterr() == ("", "")


def test_no_camera_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")
    monkeypatch.setattr(opencv, "check_device", lambda device: None)
    with pytest.raises(SourceError, match="cannot be opened"):
        opencv.build(opencv.Params(), uri=str(tmp_path / "video98"), name="x").open()
    assert capfd.readouterr() == ("", "")
