"""What a recording holds beside its moving pictures, and the container in which an annotated copy can keep it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from streamer.colour_tags import ColourTags
from streamer.mp4 import kept_time_base
from streamer.sources._ffmpeg import open_file, video_stream


@dataclass(frozen=True, slots=True)
class Container:
    """A file format for annotated video.

    Attributes:
        format: FFmpeg's name of its writer.
        suffix: of file names.
        title: what people call it.
        tick: the time unit that it forces on video; None where it keeps the stream's own.
        fits: codecs that players expect in it; None for all that FFmpeg can write.
    """

    format: str
    suffix: str
    title: str
    tick: Fraction | None = None
    fits: frozenset[str] | None = None

    def time_base(self, own: Fraction) -> Fraction:
        """Time base of a film in it whose source counts `own`: one part of a second, whatever the source's."""
        return self.tick or Fraction(1, kept_time_base(own).denominator)

    def is_exact(self, own: Fraction) -> bool:
        """Whether every time that is a multiple of `own` can be kept."""
        return (own / self.time_base(own)).denominator == 1


_IN_MP4 = frozenset(
    {"aac", "ac3", "alac", "eac3", "flac", "mp2", "mp3", "opus", "mov_text"}  # PCM and Vorbis have no players there
    | {"av1", "h264", "hevc", "mjpeg", "mpeg4", "png", "vp9"}
)
MP4 = Container("mp4", "mp4", "MP4", fits=_IN_MP4)
MOV = Container("mov", "mov", "QuickTime")
MATROSKA = Container("matroska", "mkv", "Matroska", Fraction(1, 1000))
MPEGTS = Container("mpegts", "ts", "MPEG-TS", Fraction(1, 90_000))


@dataclass(frozen=True, slots=True)
class Recording:
    """What an annotated copy of a recording keeps of it.

    Attributes:
        path: the recording.
        container: of the copy.
        copied: indexes of the streams that are copied as they are.
        notes: what is not as in the recording, a line each.
        colour: colour tags of the copy's video.
        sample_aspect: width of a pixel of the upright picture by its height; None if the recording does not say.
        time_base: seconds per unit of the recording's video pts.
        limited: the copy is to end where its pictures end, though the recording goes on.
    """

    path: Path
    container: Container
    copied: tuple[int, ...]
    notes: tuple[str, ...]
    colour: ColourTags
    sample_aspect: Fraction | None
    time_base: Fraction
    limited: bool = False

    @property
    def film_time_base(self) -> Fraction:
        """Seconds per unit of the copy's video pts."""
        return self.container.time_base(self.time_base)


def examine(path: Path, *, limited: bool = False) -> Recording:
    """Look at a recording and choose the container of its annotated copy.

    MP4 if every stream fits into it, else the recording's own container, else QuickTime or Matroska. Where none takes
    everything, exact times go before a stream that is left out, and `notes` says so.

    Raises:
        SourceError: it cannot be read, or has no video.
    """
    with open_file(str(path)) as source:
        video = video_stream(source, str(path))
        others = [stream for stream in source.streams if stream is not video and not _is_chapter_track(source, stream)]
        time_base = video.time_base or Fraction(1, 90_000)
        misfits, container = _choose(source, others, time_base)
        colour = ColourTags.of(video.codec_context)
        return Recording(
            path,
            container,
            tuple(stream.index for stream in others if stream not in misfits),
            _notes(others, container, misfits, time_base),
            colour,
            _upright_aspect(source, video),
            time_base,
            limited,
        )


def _choose(source: InputContainer, others: list[Any], time_base: Fraction) -> tuple[list[Any], Container]:
    """The container of the copy, and the streams that it cannot hold."""
    own = _own(source)
    candidates = [MP4, *([own] if own is not None else []), MOV, MATROSKA]
    tried = [([stream for stream in others if not _fits(stream, container)], container) for container in candidates]
    return min(tried, key=lambda trial: (not trial[1].is_exact(time_base), len(trial[0])))


def _own(source: InputContainer) -> Container | None:
    """The recording's own container where that can hold H.264 at any times."""
    kind = source.format.name
    if "mp4" in kind:
        brand = source.metadata.get("major_brand", "").strip()
        # Anything but QuickTime itself: MP4 as FFmpeg writes it, whatever players expect in it.
        return MOV if brand in ("", "qt") else Container("mp4", "mp4", "MP4")
    return {"matroska,webm": MATROSKA, "mpegts": MPEGTS}.get(kind)


def _fits(stream: Any, container: Container) -> bool:
    """Whether the container takes the stream, found by writing the header of such a file into memory."""
    if container.fits is not None and codec_name(stream) not in container.fits:
        return False
    trial: OutputContainer = av.open(io.BytesIO(), "w", format=container.format)
    try:
        copy_stream(trial, stream)
        trial.start_encoding()
    except (FFmpegError, ValueError, OSError):
        return False
    finally:
        _close_quietly(trial)
    return True


def _close_quietly(container: OutputContainer) -> None:
    try:
        container.close()
    except (FFmpegError, ValueError, OSError):
        return


def copy_stream(output: OutputContainer, stream: Any) -> Any:
    """A stream of `output` for the packets of `stream`, with its language, title and part in the whole.

    Raises:
        ValueError, FFmpegError: the format cannot hold it.
    """
    copy = output.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    return copy


def codec_name(stream: Any) -> str:
    """FFmpeg's name of a stream's codec; its kind where FFmpeg knows no codec."""
    context = stream.codec_context
    return str(stream.type if context is None else context.codec.canonical_name)


def is_picture(stream: Any) -> bool:
    """Whether a stream is cover art: one packet without a time."""
    return bool(stream.disposition & Disposition.attached_pic)


def _is_chapter_track(source: InputContainer, stream: Any) -> bool:
    """QuickTime keeps the names of chapters in a track, which is written anew from the chapters."""
    return stream.type == "data" and stream.discard == Discard.all and bool(source.chapters())


def _upright_aspect(source: InputContainer, video: VideoStream) -> Fraction | None:
    """Pixel aspect once the picture is turned upright: a quarter turn swaps width and height."""
    aspect = video.sample_aspect_ratio
    if not aspect:
        return None
    try:
        first = next(source.decode(video), None)
    except FFmpegError:  # the source says it, where it belongs
        first = None
    sideways = first is not None and round(first.rotation / 90) % 2 == 1
    return 1 / aspect if sideways else aspect


def _notes(others: Iterable[Any], container: Container, misfits: Iterable[Any], time_base: Fraction) -> tuple[str, ...]:
    notes = [
        f"left out: stream {stream.index} ({stream.type}, {codec_name(stream)}), which {container.title} cannot hold"
        for stream in misfits
    ]
    if container.format != MP4.format:
        strangers = [codec_name(stream) for stream in others if not _fits(stream, MP4)]
        notes.insert(0, f"{container.title} instead of MP4, which cannot hold {', '.join(dict.fromkeys(strangers))}")
    if not container.is_exact(time_base):
        notes.append(f"times rounded to {container.time_base(time_base)} s, the finest that {container.title} has")
    return tuple(notes)
