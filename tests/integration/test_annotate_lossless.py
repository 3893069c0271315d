"""Annotated video keeps what the recording holds: every time, sound, subtitles, chapters, metadata, shape, colours."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from clips import EXACT, make_clip, packets, picture, video_times
from fakes import fake_recognizer

from config.schema import Settings
from tools.annotate import annotate_file

MS = Fraction(1, 1000)
INPUTS = {
    "h264.mp4": {},
    "h264 late sound.mp4": {"audio_start": 24_000},
    "h264 late video.mp4": {"start": 45_000},
    "no sound.mp4": {"audio": None},
    "hevc 10 bit.mp4": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
    "av1 10 bit.mkv": {"codec": "libsvtav1", "pix_fmt": "yuv420p10le", "time_base": MS, "audio": "libopus"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le", "audio": "pcm_s16le"},
    "pcm.mkv": {"audio": "pcm_s16le", "time_base": MS},
    "subrip.mkv": {"subtitles": "subrip", "time_base": MS},
    "vp9.webm": {"codec": "libvpx-vp9", "audio": "libopus", "time_base": MS},
    "stream.ts": {"start": 900_000, "audio": "mp2"},
}
SUFFIXES = {"prores.mov": "mov", "pcm.mkv": "mkv", "subrip.mkv": "mkv"}


def annotated(video, folder, **settings):
    annotation = annotate_file(video, folder, Settings.model_validate(settings), fake_recognizer())
    assert annotation.problem is None
    return annotation


@pytest.mark.parametrize("name", INPUTS)
def test_times_and_sound(name, tmp_path):
    video = tmp_path / name
    pts = make_clip(video, **INPUTS[name])
    annotation = annotated(video, tmp_path / "out")
    copy = annotation.files[0]
    assert copy.name == f"{video.stem}.annotated.{SUFFIXES.get(name, 'mp4')}"
    assert annotation.frames == len(pts)
    times = video_times(video)
    assert len(times) == len(pts)
    assert video_times(copy) == times
    if INPUTS[name].get("audio", "aac") is not None:
        assert [(t, data) for t, _, data in packets(copy, "audio")] == [
            (t, data) for t, _, data in packets(video, "audio")
        ]
    own_s, kept_s = max(packets(video, "video"))[1], max(packets(copy, "video"))[1]
    assert kept_s == own_s or own_s == 0  # MPEG-TS does not say how long its last frame lasts


def test_subtitles(tmp_path):
    video = tmp_path / "words.mkv"
    make_clip(video, subtitles="subrip", time_base=MS)
    annotation = annotated(video, tmp_path / "out")
    assert packets(annotation.files[0], "subtitle") == packets(video, "subtitle")
    assert annotation.notes == ("Matroska instead of MP4, which cannot hold subrip",)


def test_chapters_metadata_and_languages(tmp_path):
    video = tmp_path / "told.mp4"
    make_clip(video, chapters=True, metadata={"title": "A walk", "artist": "Me"})
    copy = annotated(video, tmp_path / "out").files[0]
    with av.open(str(video)) as before, av.open(str(copy)) as after:
        assert [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]) for c in after.chapters()] == [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]) for c in before.chapters()
        ]
        assert len(after.chapters()) == 2
        assert (after.metadata["title"], after.metadata["artist"]) == ("A walk", "Me")
        assert after.streams.audio[0].language == "deu"
        assert [s.type for s in after.streams] == [s.type for s in before.streams]


def test_cover_art(tmp_path):
    video = tmp_path / "cover.mp4"
    make_clip(video, cover=True)
    annotation = annotated(video, tmp_path / "out")
    assert annotation.notes == ()
    assert pictures(annotation.files[0]) == pictures(video)
    assert len(pictures(video)) == 1


def pictures(path):
    with av.open(str(path)) as container:
        packets = [p for p in container.demux() if p.stream.disposition & Disposition.attached_pic and p.size]
        return [bytes(packet) for packet in packets]


def test_fonts(tmp_path):
    video = tmp_path / "font.mkv"
    make_clip(video, font=b"letters" * 20, subtitles="subrip", time_base=MS)
    annotation = annotated(video, tmp_path / "out")
    with av.open(str(annotation.files[0])) as after:
        (font,) = [stream for stream in after.streams if stream.type == "attachment"]
        assert (font.data, font.mimetype, font.name) == (b"letters" * 20, "font/ttf", "letters.ttf")


def test_subtitles_of_mp4(tmp_path):
    video, film = tmp_path / "plain.mp4", tmp_path / "words.mp4"
    make_clip(video)
    with av.open(str(video)) as source, av.open(str(film), "w", container_options=EXACT) as output:
        copies = [output.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        words = output.add_mux_stream("mov_text", time_base=MS)
        for start in (100, 700):
            line = av.Packet(b"\x00\x05hello")
            line.pts = line.dts = start
            line.duration, line.time_base, line.stream = 300, MS, words
            output.mux(line)
        for packet in source.demux():
            if packet.pts is not None:
                packet.stream = copies[packet.stream_index]
                output.mux(packet)
    annotation = annotated(film, tmp_path / "out")
    assert annotation.notes == ()
    assert packets(annotation.files[0], "subtitle") == packets(film, "subtitle")
    assert video_times(annotation.files[0]) == video_times(film)


def test_avi_whose_times_no_matroska_holds(tmp_path):
    video = tmp_path / "old.avi"
    with av.open(str(video), "w") as film:
        stream = film.add_stream("mpeg4", rate=Fraction(30_000, 1001), options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        sound = film.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        for i in range(20):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i, 90, 160, 90), format="rgb24")))
            noise = av.AudioFrame.from_ndarray(np.full((1, 3200), i, np.int16), format="s16", layout="stereo")
            noise.sample_rate = 48_000
            film.mux(sound.encode(noise))
        film.mux([*stream.encode(None), *sound.encode(None)])
    annotation = annotated(video, tmp_path / "out")
    assert annotation.files[0].suffix == ".mov"
    times = video_times(annotation.files[0])
    assert times == video_times(video) == [i * Fraction(1001, 30_000) for i in range(len(times))]
    own, kept = packets(video, "audio"), packets(annotation.files[0], "audio")
    assert b"".join(data for *_, data in own) == b"".join(data for *_, data in kept)


def test_metadata_that_only_quicktime_keys_hold(tmp_path):
    video = tmp_path / "own.mkv"
    make_clip(video, time_base=MS, metadata={"title": "A walk", "CAMERA_HEIGHT": "1.6 m"})
    with av.open(str(annotated(video, tmp_path / "out").files[0])) as after:
        assert after.metadata["title"] == "A walk"
        assert after.metadata["CAMERA_HEIGHT"] == "1.6 m"


@pytest.mark.parametrize("aspect", [None, Fraction(4, 3)])
@pytest.mark.parametrize("tags", [(0, 2, 2, 2), (1, 1, 1, 1), (2, 9, 18, 9), (1, 6, 6, 6)])
def test_shape_and_colour_tags(aspect, tags, tmp_path):
    video = tmp_path / "shape.mp4"
    make_clip(video, frames=4, aspect=aspect, tags=tags, audio=None)
    copy = annotated(video, tmp_path / "out").files[0]
    with av.open(str(video)) as before, av.open(str(copy)) as after:
        for key in ("color_range", "color_primaries", "color_trc", "colorspace"):
            kept, own = (getattr(c.streams.video[0].codec_context, key) for c in (after, before))
            assert kept == own, key
        assert after.streams.video[0].sample_aspect_ratio == before.streams.video[0].sample_aspect_ratio == aspect


@pytest.mark.parametrize("tags", [(0, 2, 2, 2), (1, 1, 1, 1), (2, 1, 1, 1), (1, 9, 16, 9), (1, 6, 6, 6)])
@pytest.mark.parametrize("size", [(640, 360), (1280, 720)])
def test_colours_look_as_before(tags, size, tmp_path):
    """What a player shows below the panel is what it showed: conversion and tags agree, whatever they are."""
    video = tmp_path / "colours.mp4"
    red = np.full((size[1], size[0], 3), (190, 40, 70), np.uint8)
    with av.open(str(video), "w") as film:
        stream = film.add_stream("libx264", rate=25, options={"crf": "5"})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        coder = stream.codec_context
        coder.color_range, coder.color_primaries, coder.color_trc, coder.colorspace = tags
        frame = av.VideoFrame.from_ndarray(red, format="rgb24").reformat(format="yuv420p")
        for i in range(3):
            frame.pts = i
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    copy = annotated(video, tmp_path / "out", overlay={"tint": 0, "legend": False}).files[0]
    with av.open(str(video)) as before, av.open(str(copy)) as after:
        own, kept = (list(c.decode(video=0))[1].to_ndarray() for c in (before, after))
    height = size[1]
    luma = slice(height - height // 10, height)
    assert np.abs(own[luma].astype(int) - kept[luma]).max() <= 3
    chroma = slice(height + height // 4 - 4, height + height // 4)
    assert np.abs(own[chroma].astype(int) - kept[chroma]).max() <= 3


def test_start_before_zero_moves_sound_and_picture_together(tmp_path):
    early = tmp_path / "early.ts"  # a clock that wraps: FFmpeg counts what comes before as negative
    options = {"mpegts_copyts": "1", "avoid_negative_ts": "disabled"}
    make_clip(early, start=-45_000, audio="mp2", audio_start=-12_000, container_options=options)
    copy = annotated(early, tmp_path / "out").files[0]
    own, kept = video_times(early), video_times(copy)
    assert own[0] < 0
    assert kept[0] == 0
    assert [b - a for a, b in zip(own, kept, strict=True)] == [-own[0]] * len(own)
    sound, moved = packets(early, "audio"), packets(copy, "audio")
    assert [data for *_, data in sound] == [data for *_, data in moved]
    assert {round(float(b[0] - a[0] + own[0]), 4) for a, b in zip(sound, moved, strict=True)} == {0.0}


def test_turned_recordings_come_out_upright(tmp_path):
    video = tmp_path / "upright.mp4"
    make_clip(video, size=(160, 90), aspect=Fraction(4, 3), frames=6, audio=None)
    turn_mp4(video)
    with av.open(str(video)) as before:
        assert abs(next(before.decode(video=0)).rotation) == 90
    with av.open(str(annotated(video, tmp_path / "out").files[0])) as after:
        frame = next(after.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (90, 160, 0)
        assert after.streams.video[0].sample_aspect_ratio == Fraction(3, 4)


def turn_mp4(path):
    """Write a quarter turn into the matrix of the track's header."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version 0: times, id, duration; then layer, group, volume
    one, minus = (0x10000).to_bytes(4, "big"), (0x100000000 - 0x10000).to_bytes(4, "big")
    zero, unit = bytes(4), (0x40000000).to_bytes(4, "big")
    data[at : at + 36] = zero + one + zero + minus + zero + zero + zero + zero + unit
    path.write_bytes(data)


def test_max_frames_ends_the_sound_as_well(tmp_path):
    video = tmp_path / "long.mp4"
    make_clip(video, frames=60)
    copy = annotated(video, tmp_path / "out", capture={"max_frames": 15}).files[0]
    times = video_times(copy)
    assert times == video_times(video)[:15]
    assert packets(copy, "audio")[-1][0] <= times[-1]
