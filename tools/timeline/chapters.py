"""Chapters inside a video: the same streams, copied, with a chapter for every span of the timeline."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from streamer.errors import OutputError
from streamer.files import PendingFile, output_error
from streamer.recording import copy_stream
from streamer.sources._ffmpeg import open_file, video_stream
from streamer.spans import SceneTimeline, Span
from tools.timeline.words import title

_MICROSECOND = Fraction(1, 1_000_000)
_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_COPIED = ("video", "audio", "subtitle", "attachment")
_FINEST = 1_000_000
"""The largest denominator of a time base that chapters get: finer ticks overflow where MP4 has 32 bits."""


def ticks_of(timeline: SceneTimeline) -> Fraction:
    """Seconds per tick in which all spans start and end at whole numbers, or a microsecond if there is no such."""
    base = timeline.spans[0].time_base
    exact = all((span.start / base).denominator == (span.end / base).denominator == 1 for span in timeline.spans)
    return base if exact and base.denominator <= _FINEST else _MICROSECOND


def chapter_ticks(span: Span, base: Fraction) -> tuple[int, int]:
    """Start and end of a span in ticks of `base` seconds; a chapter takes one tick at least."""
    start = round(span.start / base)
    return start, max(round(span.end / base), start + 1)


def add_chapters(video_in: Path, video_out: Path, timeline: SceneTimeline) -> None:
    """Copy a video and put the chapters of a timeline into it. Pictures and sound stay as they are, bit by bit.

    Args:
        video_in: any format that FFmpeg reads.
        video_out: MP4, MOV or Matroska; may be `video_in`, which is then replaced when the copy is whole.
        timeline: its clock starts with `video_in`, whatever the file's own clock says there.

    Raises:
        SourceError: `video_in` cannot be read.
        OutputError: `video_out` cannot be written, or its format has no chapters.
    """
    pending = PendingFile(video_out)
    try:
        with open_file(str(video_in)) as source:
            _copy(source, pending.path, video_out, timeline)
        pending.commit()
    finally:
        pending.discard()


def _format(target: Path) -> str:
    """FFmpeg's name of the container format that the ending means."""
    name = _FORMATS.get(target.suffix.lower())
    if name is None:
        raise OutputError(f"cannot write chapters into {target}: choose {', '.join(sorted(_FORMATS))}")
    return name


def _options(source: InputContainer, form: str) -> dict[str, str]:
    """Options of MP4 and MOV that keep the times as they are; Matroska has its own clock."""
    if form == "matroska":
        return {}
    base = video_stream(source, source.name).time_base
    ticks = str((base or _MICROSECOND).denominator)
    return {"movflags": "+faststart", "video_track_timescale": ticks, "movie_timescale": ticks}


def _copy(source: InputContainer, path: Path, target: Path, timeline: SceneTimeline) -> None:
    form = _format(target)
    try:
        with av.open(str(path), "w", format=form, options=_options(source, form)) as copy:
            streams = {s.index: copy_stream(copy, s) for s in source.streams if s.type in _COPIED}
            copy.metadata.update(source.metadata)
            copy.set_chapters(_chapters(timeline, Fraction(source.start_time or 0, av.time_base)))
            for packet in source.demux([s for s in source.streams if s.index in streams and s.type != "attachment"]):
                if packet.dts is not None:  # the empty packet at the end
                    packet.stream = streams[packet.stream.index]
                    copy.mux(packet)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise output_error(target, error) from error


def _chapters(timeline: SceneTimeline, start: Fraction) -> list[Any]:
    """The chapters on the file's own clock, which stands at `start` seconds where the video starts."""
    base = ticks_of(timeline)
    shift = round(start / base)
    chapters = []
    for number, span in enumerate(timeline.spans):
        first, last = chapter_ticks(span, base)
        times = {"start": first + shift, "end": last + shift, "time_base": base}
        chapters.append({"id": number, **times, "metadata": {"title": title(span.scene)}})
    return chapters
