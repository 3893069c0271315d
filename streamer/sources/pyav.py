"""Files, rtsp:// and http(s):// streams, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Literal

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from pydantic import PositiveFloat

from config.plugins import PluginParams
from streamer.address import NETWORK_SCHEMES, redact
from streamer.errors import SourceError, SourceLost, TruncatedError
from streamer.sources._colour import RgbConverter
from streamer.sources._ffmpeg import open_file, open_network, reason, video_stream
from streamer.sources._hardware import HardwareDecoding, accelerator, check_codec
from streamer.sources._times import FrameTimes
from streamer.sources._truncation import announced_frames, has_exact_packets
from streamer.sources.base import Decoded, Mark, Source, SourceInfo

_SEEK_BACK_S = (1, 10, 60)


class Params(PluginParams):
    """Time limits and transport, which concern network streams alone, and what decodes."""

    open_timeout_s: PositiveFloat = 4.0
    read_timeout_s: PositiveFloat = 3.0
    rtsp_transport: Literal["tcp", "udp"] = "tcp"
    hardware_decoding: HardwareDecoding = "off"


def build(params: Params, *, uri: str, name: str) -> PyAVSource:
    """The source for a path or a network address."""
    return PyAVSource(params, uri, name)


class PyAVSource(Source):
    """A recording or a network stream.

    Times are the stream's own: the pts, else the dts; `FrameTimes` helps where a frame has neither.
    Damaged packets are counted in `decode_drops` and left out.
    """

    def __init__(self, params: Params, uri: str, name: str) -> None:
        super().__init__(name, redact(uri))
        self.clock = "file"
        self._params = params
        self._target = uri
        self._remote = uri.partition("://")[0].lower() in NETWORK_SCHEMES
        self._container: InputContainer | None = None
        self._rgb = RgbConverter()
        self._live = False
        self._count = 0
        self._times = FrameTimes(Fraction(1), 0, None, live=False)
        self._pending: Iterator[Decoded] = iter(())

    def close(self) -> None:
        """Close the file or the connection."""
        self._pending = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self) -> SourceInfo:
        self.close()
        self._container = container = self._connect()
        try:
            stream = video_stream(container, self.uri)
            check_codec(self._params.hardware_decoding, stream)
            self._live = self._remote and (self._target.lower().startswith("rtsp") or not container.duration)
            self.clock = "arrival" if self._live else "file"
            # Frame threads are fastest and a few frames late, which a live stream cannot afford.
            stream.thread_type = "SLICE" if self._live else "AUTO"
            self._count, self._times = 0, self._times_of(stream)
            shots = self._shots_of(container, stream)
            # The first picture is decoded now: it alone tells the upright size, and that the codec works.
            first = next(shots, None)
            if first is None:
                raise SourceError(f"{self.uri}: none of its pictures can be decoded ({self.decode_drops} damaged)")
        except BaseException:
            self.close()
            raise
        self._pending = chain([first], shots)
        return self._info(stream, first)

    def _times_of(self, stream: VideoStream) -> FrameTimes:
        rate = stream.average_rate or stream.guessed_rate
        return FrameTimes(_time_base(stream), stream.start_time or 0, rate, live=self._live)

    def _connect(self) -> InputContainer:
        if not self._remote:
            return open_file(self._target, accelerator(self._params.hardware_decoding))
        limits = self._params.model_dump(exclude={"hardware_decoding"})
        return open_network(self._target, self.uri, accelerator(self._params.hardware_decoding), **limits)

    def _info(self, stream: VideoStream, first: Decoded) -> SourceInfo:
        height, width = first.image.shape[:2]
        return SourceInfo(
            name=self.name,
            uri=self.uri,
            live=self._live,
            width=width,
            height=height,
            time_base=first.time_base,
            frame_rate=stream.average_rate or None,
            frame_count=None if self._live else stream.frames or None,
        )

    def _decode(self) -> Iterator[Decoded]:
        return self._pending

    def _decode_after(self, mark: Mark) -> Iterator[Decoded]:
        """From the nearest key frame on, where the mark's own frame is found again; else from the start."""
        if mark.epoch == 0 and not self._remote and self._seek(mark):
            return self._pending
        self._open()
        return super()._decode_after(mark)

    def _seek(self, mark: Mark) -> bool:
        """Make the picture after the mark's the next; False if the file cannot be entered there."""
        container = self._container
        assert container is not None, "decoding comes after open"
        stream = video_stream(container, self.uri)
        for back_s in _SEEK_BACK_S:
            self._pending = iter(())
            self._times = self._times_of(stream)
            try:
                # A seek goes by decoding times, which are earlier: the key frame found may be shown after the mark.
                container.seek(mark.pts - round(back_s / _time_base(stream)), stream=stream)
                shots = self._shots_of(container, stream)
                pts = list(_pts_up_to(mark.pts, shots))
            except (av.FFmpegError, SourceError):
                return False
            if pts and pts[-1] == mark.pts:
                self._pending, self._count, self.decode_drops = shots, mark.frame_id, mark.decode_drops
                return True
            if len(pts) != 1:  # it has other times when read from here
                return False
        return False

    def _shots_of(self, container: InputContainer, stream: VideoStream) -> Iterator[Decoded]:
        packets = container.demux(stream)
        while self._container is container:  # PyAV does not survive a read from a closed container
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                yield from self._decode_packet(None, stream)
                raise self._broken(error) from None
            if packet is None:
                break
            # The last packet of a demuxer is empty: it flushes the decoder.
            yield from self._decode_packet(packet, stream)
        if self._container is not container:
            return
        if self._live:
            raise SourceLost(f"{self.uri}: the stream ended")
        self._check_whole(container, stream)

    def _decode_packet(self, packet: Packet[VideoStream] | None, stream: VideoStream) -> Iterator[Decoded]:
        """Pictures that come out as `packet` goes in; None flushes."""
        arrived_ns = time.time_ns()
        if (
            packet is not None
            and packet.is_corrupt
            and not self._live
            and has_exact_packets(stream.container.format.name)
        ):
            # Cut short by the end of the file. With frame threads, its failure would take healthy frames along.
            self.decode_drops += 1
            return
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError:
            self.decode_drops += 1
            return
        for frame in frames:
            captured_ns = arrived_ns if self._live else time.time_ns()
            own = frame.pts if frame.pts is not None else frame.dts
            pts = self._times.pts(own, frame.duration or 0, time.monotonic_ns())
            if pts is None:
                continue
            image = self._rgb(frame, stream.codec_context.name)
            yield Decoded(image, pts, _time_base(stream), captured_ns)
            self._count += 1

    def _broken(self, error: av.FFmpegError) -> SourceError:
        why = reason(error, self._params.read_timeout_s if self._remote else None)
        if self._live:
            return SourceLost(f"{self.uri}: {why}")
        return TruncatedError(f"{self.uri} breaks off after {self._count} frames: {why}")

    def _check_whole(self, container: InputContainer, stream: VideoStream) -> None:
        announced = announced_frames(container, stream)
        if announced is None:
            return
        of = f" of {announced}" if announced else ""
        raise TruncatedError(
            f"{self.uri} ends early: {self._count}{of} frames could be read; the file was cut, copy it again"
        )


def _pts_up_to(pts: int, shots: Iterator[Decoded]) -> Iterator[int]:
    """The pts of the shots, up to the first that is not smaller."""
    for shot in shots:
        yield shot.pts
        if shot.pts >= pts:
            return


def _time_base(stream: VideoStream) -> Fraction:
    base = stream.time_base
    if base is None:
        raise SourceError("a video stream without a time base")
    return base
