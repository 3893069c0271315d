"""The PyAV source on the network, against servers on the loopback that answer well, badly, or not at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from config.schema import CaptureSettings
from streamer.address import open_source
from streamer.errors import SourceError, SourceLost, TruncatedError
from streamer.sources.base import Source

COUNT = 30
Answer = Callable[[BaseHTTPRequestHandler], None]
LIMITS = CaptureSettings(open_timeout_s=1.0, read_timeout_s=0.7)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path: Path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    rng = np.random.default_rng(0)
    with av.open(path, "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264", rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(COUNT):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (240, 320, 3), np.uint8), "rgb24")
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Starts a server that answers every request by the given function; returns its address with credentials."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        servers.append((server, thread))
        return f"http://admin:sesame@127.0.0.1:{server.server_port}/clip.mp4?token=sesame"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def send_file(data: bytes, announced: int | None = None) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(announced or len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def send_pictures(count: int, then_wait_s: float = 0.0) -> Answer:
    """A camera's Motion JPEG stream."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for index in range(count):
            _, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 5 * index, np.uint8))
            data = jpeg.tobytes()
            handler.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
            handler.wfile.write(data + b"\r\n")
            handler.wfile.flush()
            time.sleep(0.02)
        time.sleep(then_wait_s)

    return answer


def source_for(uri: str) -> Source:
    return open_source(uri, None, LIMITS)


def test_recording_over_http(serve: Callable[[Answer], str], clip: bytes) -> None:
    with source_for(serve(send_file(clip))) as source:
        info = source.open()
        frames = list(source.frames())
    assert len(frames) == COUNT
    assert (info.name, info.live, info.frame_count) == ("127.0.0.1", False, COUNT)
    assert "sesame" not in info.uri
    assert "admin" not in info.uri
    assert {f.clock for f in frames} == {"file"}


def test_recording_that_breaks_off(serve: Callable[[Answer], str], clip: bytes) -> None:
    with source_for(serve(send_file(clip[: len(clip) // 2], announced=len(clip)))) as source:
        source.open()
        seen = 0
        with pytest.raises(TruncatedError) as caught:
            for _ in source.frames():
                seen += 1
    assert 10 <= seen <= 20
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("silent_s", [0.0, 2.0])
def test_live_stream_that_gets_lost(serve: Callable[[Answer], str], silent_s: float) -> None:
    with source_for(serve(send_pictures(COUNT, silent_s))) as source:
        info = source.open()
        frames, began = [], time.monotonic()
        with pytest.raises(SourceLost) as caught:
            for frame in source.frames():
                frames.append(frame)
                began = time.monotonic()
        assert time.monotonic() - began < 1.7
        assert "sesame" not in str(caught.value)
        assert info.live
        assert info.frame_count is None
        assert [f.frame_id for f in frames] == list(range(len(frames)))
        assert COUNT - 1 <= len(frames) <= COUNT
        assert {f.clock for f in frames} == {"arrival"}
        assert {f.epoch for f in frames} == {0}
        source.close()
        source.open()
        again = next(iter(source.frames()))
    assert (again.epoch, again.frame_id) == (1, len(frames))


def test_missing_page(serve: Callable[[Answer], str]) -> None:
    with pytest.raises(SourceError, match="404") as caught:
        source_for(serve(lambda handler: handler.send_error(404))).open()
    assert "sesame" not in str(caught.value)


def test_refused_credentials(serve: Callable[[Answer], str]) -> None:
    with pytest.raises(SourceError, match="wants a user name and a password") as caught:
        source_for(serve(lambda handler: handler.send_error(401))).open()
    assert "sesame" not in str(caught.value)


def test_web_page(serve: Callable[[Answer], str]) -> None:
    page = b"<html><body>welcome</body></html>" * 50
    with pytest.raises(SourceError):
        source_for(serve(send_file(page))).open()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_never_answers(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(SourceError, match="no answer within 1 s") as caught:
            source_for(f"{scheme}://admin:sesame@127.0.0.1:{port}/live").open()
        assert time.monotonic() - began < LIMITS.open_timeout_s + 1
    assert "sesame" not in str(caught.value)
    assert caught.value.__suppress_context__  # FFmpeg's own error holds the address


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(SourceError, match="refused"):
        source_for(f"rtsp://127.0.0.1:{port}/live").open()


def test_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(SourceError, match=r"'cam\.example' cannot be found"):
        source_for("rtsp://admin:sesame@cam.example/live").open()


def test_slow_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: release.wait(5))
    with pytest.raises(SourceError, match="not found within 1 s"):
        source_for("rtsp://cam.example/live").open()
    release.set()
