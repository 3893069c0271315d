"""Recordings made for tests: variable rate, sound, subtitles, chapters, and what `ffprobe` would say of a file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

EXACT = {"video_track_timescale": "90000", "movie_timescale": "90000"}


def picture(number: int, scene: int, width: int, height: int) -> np.ndarray:
    """Of that brightness, with a bar that moves a column a frame."""
    image = np.full((height, width, 3), scene, np.uint8)
    image[:, number % width] = 128
    return image


def make_clip(
    path: Path,
    *,
    frames: int = 40,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    time_base: Fraction = Fraction(1, 90_000),
    start: int = 0,
    size: tuple[int, int] = (160, 90),
    audio: str | None = "aac",
    audio_start: int = 0,
    subtitles: str | None = None,
    container_options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    chapters: bool = False,
    tags: tuple[int, int, int, int] | None = None,
    aspect: Fraction | None = None,
    scenes: tuple[int, ...] = (30, 220),
    cover: bool = False,
    font: bytes | None = None,
) -> list[int]:
    """Write a clip of variable rate, about 30 a second; gives the pts of its frames.

    `tags` are range, primaries, transfer and matrix; `scenes` are brightnesses that follow each other.
    """
    options = EXACT if container_options is None and path.suffix in (".mp4", ".mov") else container_options
    with av.open(str(path), "w", container_options=options or {}) as film:
        video = film.add_stream(codec, rate=30, options={"g": "12"} if codec in ("libx264", "mpeg4") else {})
        (video.width, video.height), video.pix_fmt = size, pix_fmt
        video.codec_context.time_base = video.time_base = time_base
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        if tags is not None:
            coder = video.codec_context
            coder.color_range, coder.color_primaries, coder.color_trc, coder.colorspace = tags
        sound = None
        if audio is not None:
            sound = film.add_stream(audio, rate=48_000, layout="stereo")
            sound.metadata["language"] = "deu"
        words = None
        if subtitles is not None:
            words = film.add_mux_stream(subtitles)
            words.time_base = Fraction(1, 1000)
        if font is not None:
            film.add_attachment("letters.ttf", "font/ttf", font)
        if cover:
            _add_cover(film)
        film.metadata.update(metadata or {})
        if chapters:
            film.set_chapters([_chapter(0, 0, 400), _chapter(1, 400, 1300)])
        pts = [start + round((i * Fraction(1, 30) + Fraction(i * 37 % 11, 1000)) / time_base) for i in range(frames)]
        for i, at in enumerate(pts):
            scene = scenes[i * len(scenes) // frames]
            frame = av.VideoFrame.from_ndarray(picture(i, scene, *size), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = at, time_base
            film.mux(video.encode(frame))
            if words is not None and i % 10 == 5:
                film.mux(_line(words, i))
        film.mux(video.encode(None))
        if sound is not None:
            _add_sound(film, sound, frames, audio_start)
    return pts


def _chapter(number: int, start_ms: int, end_ms: int) -> dict:
    title = {"title": f"Chapter {number + 1}"}
    return {"id": number, "start": start_ms, "end": end_ms, "time_base": Fraction(1, 1000), "metadata": title}


def _add_cover(film) -> None:
    """A little grey picture, which is no moving one."""
    coder = av.CodecContext.create("mjpeg", "w")
    coder.width = coder.height = 32
    coder.pix_fmt, coder.time_base = "yuvj420p", Fraction(1, 25)
    grey = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 99, np.uint8), format="rgb24").reformat(format="yuvj420p")
    (packet,) = coder.encode(grey)
    stream = film.add_mux_stream("mjpeg", width=32, height=32)
    stream.disposition = Disposition.attached_pic
    packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 90_000)
    film.mux(packet)


def _line(words, number: int) -> av.Packet:
    packet = av.Packet(f"line {number}".encode())
    packet.pts = packet.dts = 33 * number
    packet.duration, packet.time_base, packet.stream = 200, Fraction(1, 1000), words
    return packet


def _add_sound(film, sound, frames: int, start: int) -> None:
    noise = np.random.default_rng(0)
    for i in range(frames * 48_000 // 30 // 1024 + 2):
        samples = (noise.standard_normal((2, 1024)) / 10).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start + 1024 * i, Fraction(1, 48_000)
        film.mux(sound.encode(frame))
    film.mux(sound.encode(None))


def video_times(path: Path) -> list[Fraction]:
    """Times in seconds of all frames that can be decoded, in order."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def packets(path: Path, kind: str) -> list[tuple[Fraction, Fraction, bytes]]:
    """(time, duration, data) of all packets of the first stream of that kind; times in seconds."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        read = [packet for packet in container.demux(stream) if packet.pts is not None]
        return [(p.pts * p.time_base, (p.duration or 0) * p.time_base, bytes(p)) for p in read]
