"""The PyAV source on a small RTSP server of our own: a live camera that plays, gets lost, and comes back."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from fractions import Fraction

import av
import pytest

from config.schema import CaptureSettings
from streamer.address import open_source
from streamer.errors import SourceLost
from streamer.sources.base import Source
from streamer.sources.synthetic import draw, make_texture, read_number

COUNT = 40
RATE = 25
FIRST_TIMESTAMP = 123_456_789  # RFC 3550: senders start anywhere
SIZE = (320, 240)
LIMITS = CaptureSettings(open_timeout_s=4.0, read_timeout_s=0.7)
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
SDP += "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:track0\r\n"


def encoded() -> list[bytes]:
    """Access units of the test pattern, Annex B."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = *SIZE, "yuv420p"
    encoder.time_base = Fraction(1, RATE)
    encoder.options = {"bf": "0", "g": "10", "tune": "zerolatency", "x264-params": "repeat-headers=1:sliced-threads=0"}
    texture = make_texture(*SIZE, seed=0)
    units = []
    for index in range(COUNT):
        frame = av.VideoFrame.from_ndarray(draw(texture, index), "rgb24")
        frame.pts = index
        units += [bytes(packet) for packet in encoder.encode(frame)]
    return units + [bytes(packet) for packet in encoder.encode()]


def rtp_packets(units: list[bytes]) -> Iterator[bytes]:
    """RFC 6184: a small unit whole, a large one in fragments; the interleaved header of RFC 2326 in front."""
    sequence = itertools.count()
    for index, unit in enumerate(units):
        nals = [n for n in unit.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if n]
        for number, nal in enumerate(nals):
            for piece, end in fragments(nal):
                marker = 0x80 if end and number == len(nals) - 1 else 0
                head = struct.pack(
                    ">BBHII", 0x80, 96 | marker, next(sequence) & 0xFFFF, FIRST_TIMESTAMP + index * 90_000 // RATE, 7
                )
                yield b"$\0" + struct.pack(">H", len(head) + len(piece)) + head + piece


def fragments(nal: bytes) -> Iterator[tuple[bytes, bool]]:
    if len(nal) <= 1400:
        yield nal, True
        return
    pieces = [nal[i : i + 1400] for i in range(1, len(nal), 1400)]
    for number, piece in enumerate(pieces):
        first, last = number == 0, number == len(pieces) - 1
        yield bytes([nal[0] & 0xE0 | 28, first << 7 | last << 6 | nal[0] & 0x1F]) + piece, last


class Camera:
    """Answers any number of clients, one after the other; after the last frame it hangs up, or goes silent."""

    def __init__(self, *, hang_up: bool) -> None:
        self._packets = list(rtp_packets(encoded()))
        self._hang_up = hang_up
        self._stop = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.05)
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            with client:
                client.settimeout(5)
                try:
                    self._talk(client)
                except OSError:
                    continue

    def _talk(self, client: socket.socket) -> None:
        text = client.makefile("r", newline="\r\n")
        while not self._stop.is_set():
            request = list(iter(text.readline, "\r\n")) if (line := text.readline()) else []
            if not line:
                return
            method = line.split(" ")[0]
            number = next(r.split(":")[1].strip() for r in request if r.lower().startswith("cseq"))
            extra, body = "", ""
            if method == "DESCRIBE":
                body = SDP
                extra = f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n"
            elif method == "SETUP":
                extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n{extra}\r\n{body}".encode())
            if method == "PLAY":
                for packet in self._packets:
                    client.sendall(packet)
                if self._hang_up:
                    return


@pytest.fixture(params=[True, False], ids=["hangs-up", "goes-silent"])
def camera(request: pytest.FixtureRequest) -> Iterator[Camera]:
    camera = Camera(hang_up=request.param)
    yield camera
    camera.close()


def watch(source: Source) -> list[tuple[int, int, Fraction, int]]:
    seen = []
    with pytest.raises(SourceLost) as caught:
        for f in source.frames():
            seen.append((f.frame_id, f.epoch, f.pts * f.time_base, read_number(f.image)))
    assert "sesame" not in str(caught.value)
    return seen


def test_live_camera(camera: Camera) -> None:
    with open_source(f"rtsp://admin:sesame@127.0.0.1:{camera.port}/live", None, LIMITS) as source:
        info = source.open()
        assert (info.live, info.width, info.height, info.name) == (True, *SIZE, "127.0.0.1")
        seen = watch(source)
        # FFmpeg has no time for the first picture of an RTSP stream; see `FrameTimes`.
        assert [number for *_, number in seen] == list(range(1, COUNT))
        assert [time for *_, time, _ in seen] == [Fraction(i, RATE) for i in range(1, COUNT)]
        assert source.clock == "arrival"
        source.close()
        source.open()
        again = watch(source)
    assert [(i, epoch) for i, epoch, *_ in again] == [(i, 1) for i in range(COUNT - 1, 2 * COUNT - 2)]
