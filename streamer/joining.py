"""Joins the parts of a film and lays what else its recording holds beside it: packets are copied, nothing is encoded.

- Packets keep their times; where the film had to be moved (see `streamer.film_clock`), all streams move with it.
- Decoding times of the film are made anew over all parts: each part's encoder knew nothing of the part before.
- Files of any length: packets pass one by one, merged by their times.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet

from streamer.errors import OutputError
from streamer.files import output_error
from streamer.recording import MP4, Container, Recording, codec_name, copy_stream, is_picture
from streamer.sources._ffmpeg import open_file, video_stream

_LARGEST_TIMESCALE = 2**31 - 1
_SILENCE = b"\x00\x00"  # MP4's subtitle between two subtitles, of which the writer makes its own
_JUMP_S = 0.5  # times that run back by more than this begin a new epoch
# What MP4 keeps in iTunes' own fields, which players read; with any other key all go into QuickTime's free ones.
_ITUNES_KEYS = frozenset(
    {"title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "grouping"}
    | {"lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "creation_time"}
)
_OF_THE_FILE = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})


@dataclass(frozen=True, slots=True)
class Film:
    """What has been encoded.

    Attributes:
        parts: the MP4 files, in order; each begins with a key frame.
        pts: of every frame, in order, in units of `time_base`.
        time_base: seconds per unit; one part of a second.
        shifts: per epoch of the recording, by how many seconds the film's times are later than its own.
    """

    parts: Sequence[Path]
    pts: Sequence[int]
    time_base: Fraction
    shifts: Sequence[Fraction]


def join(film: Film, recording: Recording | None, path: Path, target: Path) -> None:
    """Write the film, and what is copied of its recording, into one file.

    Args:
        film: its parts hold exactly the frames of `film.pts`.
        recording: whose streams, chapters and metadata go beside it; None for a film alone, in MP4.
        path: the file to write.
        target: what to call it in errors.

    Raises:
        OutputError: it cannot be written, or the parts do not belong together.
        SourceError: the recording is gone.
    """
    try:
        with ExitStack() as stack:
            source = None if recording is None else stack.enter_context(open_file(str(recording.path)))
            container = MP4 if recording is None else recording.container
            options = _options(film, container, source)
            output = av.open(str(path), "w", format=container.format, container_options=options)
            stack.callback(_close_quietly, output)
            _Joint(film, recording, source, output).write()
            output.close()
    except (FFmpegError, OSError, ValueError) as error:
        raise output_error(target, error) from error


def _options(film: Film, container: Container, source: InputContainer | None) -> dict[str, str]:
    """Options of the file format: clocks fine enough for every stream, the index in front, free keys of metadata."""
    if container.format == "mpegts":
        return {"mpegts_copyts": "1"}
    if container.format not in ("mp4", "mov"):
        return {}
    ticks = film.time_base.denominator
    streams, metadata = (source.streams, source.metadata) if source is not None else ((), {})
    clocks = [ticks, *(stream.time_base.denominator for stream in streams if stream.time_base)]
    # The starts of all streams count in the movie's clock: a coarse one would push sound and picture apart.
    common = math.lcm(*clocks)
    free_keys = set(metadata) - _ITUNES_KEYS - _OF_THE_FILE
    return {
        "movflags": "+faststart" + ("+use_metadata_tags" if free_keys else ""),
        "video_track_timescale": str(ticks),
        "movie_timescale": str(common if common <= _LARGEST_TIMESCALE else max(clocks)),
    }


class _Joint:
    """One file being joined."""

    def __init__(
        self, film: Film, recording: Recording | None, source: InputContainer | None, output: OutputContainer
    ) -> None:
        self._film = film
        self._recording = recording
        self._source = source
        self._output = output
        self._copies: dict[int, Any] = {}
        self._last_dts: dict[int, int] = {}

    def write(self) -> None:
        with av.open(str(self._film.parts[0])) as first:
            film_stream = self._add_streams(first.streams.video[0])
            self._describe()
            self._output.start_encoding()
        film = self._film_packets(film_stream)
        for packet in heapq.merge(film, self._copied_packets(), key=_time):
            self._output.mux_one(packet)

    def _add_streams(self, encoded: Any) -> Any:
        """The output's streams in the order of the recording's; gives the film's."""
        if self._source is None or self._recording is None:
            return self._output.add_stream_from_template(encoded, opaque=True)
        own = video_stream(self._source, str(self._recording.path))
        for stream in self._source.streams:
            if stream is own:
                film_stream = self._output.add_stream_from_template(encoded, opaque=True)
                film_stream.metadata.update({k: v for k, v in own.metadata.items() if k not in {"rotate", "encoder"}})
                film_stream.disposition = own.disposition
            elif stream.index in self._recording.copied:
                self._copies[stream.index] = copy_stream(self._output, stream)
        return film_stream

    def _describe(self) -> None:
        if self._source is None:
            return
        shift = self._film.shifts[0]
        self._output.metadata.update({k: v for k, v in self._source.metadata.items() if k not in _OF_THE_FILE})
        chapters = self._source.chapters()
        for chapter in chapters:
            moved = round(shift / Fraction(chapter["time_base"] or 1))
            chapter["start"], chapter["end"] = chapter["start"] + moved, chapter["end"] + moved
        self._output.set_chapters(chapters)

    def _film_packets(self, stream: Any) -> Iterator[Packet[Any]]:
        """The packets of all parts, with decoding times as one encoder would have given them."""
        film, count, depth = self._film, 0, self._reorder_depth()
        extradata: bytes | None = None
        last_step = self._last_step()
        for part in film.parts:
            with av.open(str(part)) as container:
                encoded: Any = container.streams.video[0]
                if extradata not in (None, encoded.codec_context.extradata):
                    raise OutputError(f"{part} was made by another encoder than the parts before it; use --restart")
                extradata = encoded.codec_context.extradata
                for packet in container.demux(encoded):
                    if packet.pts is None:
                        continue
                    pts = round(packet.pts * encoded.time_base / film.time_base)
                    rank = bisect_left(film.pts, pts)
                    packet.pts, packet.dts = pts, min(pts, self._dts(count, depth))
                    packet.duration = film.pts[rank + 1] - pts if rank + 1 < len(film.pts) else last_step
                    packet.time_base, packet.stream = film.time_base, stream
                    count += 1
                    yield packet
        if count != len(film.pts):
            raise OutputError(f"the parts hold {count} frames instead of {len(film.pts)}; use --restart")

    def _dts(self, number: int, depth: int) -> int:
        """Decoding time of the packet that comes as number `number`: the time of the frame `depth` places before."""
        pts = self._film.pts
        if number >= depth:
            return pts[number - depth]
        step = pts[1] - pts[0] if len(pts) > 1 else 1
        return pts[0] - (depth - number) * step

    def _reorder_depth(self) -> int:
        """By how many frames the decoder's output may lag behind its input, the largest of all parts."""
        depth = 0
        for part in self._film.parts:
            with av.open(str(part)) as container:
                depth = max(depth, int(container.streams.video[0].codec_context.reorder_depth))
        return depth

    def _last_step(self) -> int:
        """How long the last frame lasts: as its recording says, else as long as the one before."""
        film = self._film
        step = film.pts[-1] - film.pts[-2] if len(film.pts) > 1 else 1
        if self._recording is None or len(film.shifts) > 1:
            return step
        last_s = film.pts[-1] * film.time_base - film.shifts[0]
        duration_s = _duration_at(self._recording, last_s)
        return step if duration_s is None else max(1, round(duration_s / film.time_base))

    def _copied_packets(self) -> Iterator[Packet[Any]]:
        """The packets of the recording's other streams, at the film's times."""
        if self._recording is None or not self._copies:
            return
        epochs = dict.fromkeys(self._copies, 0)
        before: dict[int, float] = {}
        end_s = float(self._film.pts[-1] * self._film.time_base)
        for packet in self._readable_packets():
            index = packet.stream_index
            if packet.pts is None and packet.dts is None and not packet.size:
                continue  # the demuxer's last word
            if codec_name(packet.stream) == "mov_text" and bytes(packet) == _SILENCE:
                continue
            if not is_picture(packet.stream):
                now = _time(packet)
                if now < before.get(index, now) - _JUMP_S:
                    epochs[index] = min(epochs[index] + 1, len(self._film.shifts) - 1)
                before[index] = now
                self._move(packet, self._film.shifts[epochs[index]])
                if self._recording.limited and _time(packet) > end_s:
                    continue
            packet.stream = self._copies[index]
            yield packet

    def _readable_packets(self) -> Iterator[Packet[Any]]:
        """Up to the end, or to where the recording breaks off; that was told when its pictures were read."""
        assert self._source is not None
        packets = self._source.demux([self._source.streams[index] for index in self._copies])
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError:
                return
            if packet is None:
                return
            yield packet

    def _move(self, packet: Packet[Any], shift: Fraction) -> None:
        """Move a packet by `shift` seconds; decoding times must grow, whatever the recording says."""
        moved, index = round(shift / packet.time_base), packet.stream_index
        dts = (packet.dts if packet.dts is not None else packet.pts or 0) + moved
        pts = (packet.pts if packet.pts is not None else dts - moved) + moved
        packet.dts = self._last_dts[index] = max(dts, self._last_dts.get(index, dts - 1) + 1)
        packet.pts = max(pts, packet.dts)


def _time(packet: Packet[Any]) -> float:
    ticks = packet.dts if packet.dts is not None else packet.pts
    return float((ticks or 0) * packet.time_base)


def _duration_at(recording: Recording, seconds: Fraction) -> Fraction | None:
    """Duration in seconds of the picture at that time of the recording; None if it does not say."""
    with open_file(str(recording.path)) as source:
        video = video_stream(source, str(recording.path))
        base = video.time_base or recording.time_base
        pts = round(seconds / base)
        try:
            source.seek(pts, stream=video)
            found = next((packet for packet in source.demux(video) if packet.pts == pts), None)
        except FFmpegError:
            return None
        return found.duration * base if found is not None and found.duration else None


def _close_quietly(container: OutputContainer) -> None:
    # After a failure the trailer fails again; the file is let go all the same.
    try:
        container.close()
    except (FFmpegError, OSError, ValueError):
        return
