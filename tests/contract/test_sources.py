"""Every source plug-in keeps the promises of `streamer.sources.base`, whatever it reads."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamer.errors import SourceLost
from streamer.frame import SOURCE_NAME, Frame
from streamer.sources import SOURCES
from streamer.sources.base import Source

COUNT = 7
WIDTH, HEIGHT = 66, 50


@dataclass
class Case:
    uri: str
    params: dict[str, object]
    live: bool = False
    ends_by: type[Exception] | None = None


class FakeCamera:
    """Gives `COUNT` pictures each time it is opened, then fails like an unplugged camera."""

    def __init__(self, number: int, backend: int) -> None:
        self.left = COUNT

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def set(self, key: int, value: float) -> bool:
        return True

    def get(self, key: int) -> float:
        return 30.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.zeros((HEIGHT, WIDTH, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.left = 0


def clip(folder: Path, _: pytest.MonkeyPatch) -> Case:
    with av.open(folder / "clip.mp4", "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(COUNT):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 30 * index, np.uint8), "rgb24")
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return Case(str(folder / "clip.mp4"), {})


def pictures(folder: Path, _: pytest.MonkeyPatch) -> Case:
    for index in range(COUNT):
        assert cv2.imwrite(str(folder / f"shot{index}.png"), np.full((HEIGHT, WIDTH, 3), 30 * index, np.uint8))
    return Case(str(folder), {})


def camera(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    monkeypatch.setattr("streamer.sources.opencv.check_device", lambda device: None)
    monkeypatch.setenv("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")  # the source sets it; this restores it
    return Case("/dev/video0", {}, live=True, ends_by=SourceLost)


def pattern(folder: Path, _: pytest.MonkeyPatch) -> Case:
    return Case("synthetic:", {"frames": COUNT, "width": WIDTH, "height": HEIGHT})


CASES: dict[str, Callable[[Path, pytest.MonkeyPatch], Case]] = {
    "images": pictures,
    "opencv": camera,
    "pyav": clip,
    "synthetic": pattern,
}


def test_every_source_has_a_case() -> None:
    assert SOURCES.names() == sorted(CASES), "a new source needs a case here"


@pytest.fixture(params=SOURCES.names())
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def case(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return CASES[kind](tmp_path, monkeypatch)


@pytest.fixture
def source(kind: str, case: Case) -> Source:
    plugin = SOURCES.load(kind)
    built: Source = plugin.build(SOURCES.params(kind, case.params), uri=case.uri, name="it")
    return built


def collect(source: Source, case: Case) -> list[Frame]:
    """Every frame to the end, which must be the end that the case expects."""
    frames, stream = [], source.frames()
    while True:
        try:
            frames.append(next(stream))
        except StopIteration:
            assert case.ends_by is None
            return frames
        except SourceLost:
            assert case.ends_by is SourceLost
            return frames


def test_reads_everything(source: Source, case: Case) -> None:
    with source:
        info = source.open()
        frames = collect(source, case)
    assert (info.name, info.live, info.width, info.height) == ("it", case.live, WIDTH, HEIGHT)
    assert info.frame_count in (None, COUNT)
    assert [f.frame_id for f in frames] == list(range(COUNT))
    assert {f.image.shape for f in frames} == {(HEIGHT, WIDTH, 3)}
    assert {f.image.dtype for f in frames} == {np.dtype(np.uint8)}
    assert all(f.image.flags.c_contiguous for f in frames)
    assert {(f.source, f.epoch, f.time_base, f.clock) for f in frames} == {("it", 0, info.time_base, source.clock)}
    assert all(a.pts < b.pts for a, b in itertools.pairwise(frames))
    assert all(a.t_capture_ns <= b.t_capture_ns for a, b in itertools.pairwise(frames))
    assert SOURCE_NAME.fullmatch(info.name)
    assert source.decode_drops == 0


def test_iterating_after_the_end_ends(source: Source, case: Case) -> None:
    with source:
        source.open()
        collect(source, case)
        assert list(source.frames()) == []


def test_a_second_iteration_goes_on(source: Source, case: Case) -> None:
    with source:
        source.open()
        first = list(itertools.islice(source.frames(), 3))
        rest = collect(source, case)
    assert [f.frame_id for f in first + rest] == list(range(COUNT))


def test_close_twice_and_nothing_after(source: Source) -> None:
    source.open()
    stream = source.frames()
    next(stream)
    source.close()
    source.close()
    try:
        assert list(stream) == []
    except SourceLost:
        assert source.clock == "arrival"


def test_close_before_open(source: Source) -> None:
    source.close()


def test_reopen_is_a_new_epoch_with_ids_that_go_on(source: Source, case: Case) -> None:
    with source:
        source.open()
        first = list(itertools.islice(source.frames(), 4))
        source.close()
        source.open()
        assert source.epoch == 1
        second = collect(source, case)
    assert [f.frame_id for f in first + second] == list(range(4 + COUNT))
    assert [f.epoch for f in first + second] == [0] * 4 + [1] * COUNT
