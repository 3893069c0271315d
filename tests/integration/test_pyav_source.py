"""The PyAV source on clips made here, in every format that matters, and on real ones: times, count and colours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from config.schema import CaptureSettings
from streamer.address import open_source
from streamer.errors import SourceError, TruncatedError
from streamer.frame import Frame
from streamer.sources.base import Source

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "videos"
RGB = [(200, 30, 60), (20, 180, 90), (15, 40, 220), (128, 128, 128), (240, 230, 20)]
# Kr and Kb of ITU-R BT.601, BT.709 and BT.2020, by FFmpeg's number of the matrix.
WEIGHTS = {6: (0.299, 0.114), 5: (0.299, 0.114), 1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}
LIMITED, FULL = 1, 2


def source_for(path: Path | str) -> Source:
    return open_source(str(path), None, CaptureSettings())


def read(path: Path | str) -> list[Frame]:
    with source_for(path) as source:
        source.open()
        return list(source.frames())


def solid(index: int, width: int = 64, height: int = 48) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), index * 12 % 256, np.uint8), "rgb24")


def noisy(index: int, width: int = 320, height: int = 240) -> av.VideoFrame:
    """Hard to compress, so that packets are large enough to be cut in two."""
    noise = np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)
    return av.VideoFrame.from_ndarray(noise, "rgb24")


def write(
    path: Path,
    frames: Iterable[av.VideoFrame],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pts: Iterable[int] | None = None,
    rate: int = 25,
    format_options: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Encode `frames`; pts count in 1/rate seconds."""
    times = itertools.count() if pts is None else iter(pts)
    stream = None
    with av.open(path, "w", options=format_options or {}) as out:
        for frame in frames:
            if stream is None:
                stream = out.add_stream(codec, rate=rate, options=options)
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, pix_fmt
                stream.codec_context.colorspace = frame.colorspace
                stream.codec_context.color_range = frame.color_range
                stream.codec_context.time_base = Fraction(1, rate)
            frame.pts, frame.time_base = next(times), Fraction(1, rate)
            out.mux(stream.encode(frame))
        assert stream is not None
        out.mux(stream.encode())
    return path


def demuxed_pts(path: Path) -> list[int]:
    with av.open(path) as container:
        return sorted(p.pts for p in container.demux(video=0) if p.size and not p.is_discard)


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx264", {"bf": "3"}),
        ("mp4", "libx265", {"bf": "3", "x265-params": "log-level=none"}),
        ("mkv", "libx264", {"bf": "0"}),
        ("webm", "libvpx-vp9", {"deadline": "realtime", "b": "200k"}),
        ("avi", "mpeg4", {}),
        ("ts", "libx264", {"bf": "2"}),
        ("mov", "mjpeg", {}),
    ],
)
def test_every_frame_at_its_own_time(tmp_path: Path, suffix: str, codec: str, options: dict[str, str]) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write(tmp_path / f"x.{suffix}", (solid(i) for i in range(33)), codec=codec, pix_fmt=pix_fmt, **options)
    frames = read(path)
    assert len(frames) == 33
    assert [f.pts for f in frames] == demuxed_pts(path)
    assert [f.frame_id for f in frames] == list(range(33))
    assert {f.epoch for f in frames} == {0}
    assert [round(f.seconds - frames[0].seconds, 2) for f in frames] == [round(i / 25, 2) for i in range(33)]


def test_variable_frame_rate_is_exact(tmp_path: Path) -> None:
    pts = [0, 1, 5, 6, 90, 91, 92, 250, 251, 900]
    path = write(tmp_path / "vfr.mp4", (solid(i) for i in range(10)), pts=pts, rate=90, bf="2")
    frames = read(path)
    assert [f.pts * f.time_base for f in frames] == [Fraction(p, 90) for p in pts]


def test_raw_stream_without_times_counts_on(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h264", (solid(i) for i in range(12)), bf="0")
    frames = read(path)
    assert len(frames) == 12
    steps = {b.pts - a.pts for a, b in itertools.pairwise(frames)}
    assert len(steps) == 1
    assert steps.pop() > 0


def test_edit_list_is_no_truncation(tmp_path: Path) -> None:
    """A copy that starts inside a group of pictures keeps the frames before the start but hides them."""
    whole = write(tmp_path / "whole.mp4", (solid(i) for i in range(30)), bf="2", g="30")
    with av.open(whole) as source, av.open(tmp_path / "cut.mp4", "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                packet.pts -= 10 * 512
                packet.dts -= 10 * 512
                out.mux(packet)
    frames = read(tmp_path / "cut.mp4")
    assert 18 <= len(frames) <= 30
    assert [f.pts for f in frames] == sorted(f.pts for f in frames)


# --- Pictures


@pytest.mark.parametrize("size", [(65, 49), (64, 49), (65, 48), (2, 2), (16, 400)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    path = write(tmp_path / "x.mkv", [solid(9, width, height)] * 3, codec="ffv1", pix_fmt="yuv420p")
    frames = read(path)
    assert [f.image.shape for f in frames] == [(height, width, 3)] * 3
    assert np.abs(frames[0].image.astype(int) - 108).max() <= 3


def to_yuv(rgb: tuple[int, int, int], matrix: int, color_range: int, bits: int) -> list[int]:
    """ITU-R BT.601/709/2020: R'G'B' to quantised Y'CbCr."""
    kr, kb = WEIGHTS[matrix]
    red, green, blue = (c / 255 for c in rgb)
    y = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))
    step, top = 1 << (bits - 8), (1 << bits) - 1
    if color_range == FULL:
        return [round(y * top), round(cb * top) + 128 * step, round(cr * top) + 128 * step]
    return [round(v * step) for v in (16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr)]


def planar(values: list[int], pix_fmt: str, width: int, height: int) -> av.VideoFrame:
    """A frame of one colour, given by the value of each plane."""
    frame = av.VideoFrame(width, height, pix_fmt)
    deep = any(mark in pix_fmt for mark in ("10", "12", "16"))
    for plane, value in zip(frame.planes, values, strict=False):
        dtype: type = np.uint16 if deep else np.uint8
        plane.update(np.full(plane.buffer_size // np.dtype(dtype).itemsize, value, dtype).tobytes())
    return frame


def worst(image: NDArray[np.uint8], rgb: tuple[int, int, int]) -> int:
    return int(np.abs(image.astype(int) - np.array(rgb)).max())


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuva420p"])
@pytest.mark.parametrize("color_range", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
def test_colours(tmp_path: Path, matrix: int, color_range: int, pix_fmt: str) -> None:
    colours = []
    for rgb in RGB:
        yuv = to_yuv(rgb, matrix, color_range, 10 if "10" in pix_fmt else 8)
        frame = planar([*yuv, 255], pix_fmt, 64, 48)
        frame.colorspace, frame.color_range = matrix, color_range
        colours.append(frame)
    path = write(tmp_path / "x.mkv", colours, codec="ffv1", pix_fmt=pix_fmt)
    for frame, rgb in zip(read(path), RGB, strict=True):
        assert worst(frame.image, rgb) <= 3


@pytest.mark.parametrize(("height", "matrix"), [(576, 6), (719, 6), (720, 1), (1080, 1)])
def test_untagged_colours_are_what_players_show(tmp_path: Path, height: int, matrix: int) -> None:
    frames = [planar(to_yuv(rgb, matrix, LIMITED, 8), "yuv420p", 64, height) for rgb in RGB]
    path = write(tmp_path / "x.mkv", frames, codec="ffv1")
    for frame, rgb in zip(read(path), RGB, strict=True):
        assert worst(frame.image, rgb) <= 3


@pytest.mark.parametrize("matrix", [8, 10, 11, 14])
def test_rare_matrices_still_play(tmp_path: Path, matrix: int) -> None:
    frame = planar([126, 128, 128], "yuv420p", 64, 48)
    frame.colorspace = matrix
    assert worst(read(write(tmp_path / "x.mkv", [frame], codec="ffv1"))[0].image, (128, 128, 128)) <= 3


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "color_range", "value", "shown"),
    [
        ("ffv1", "gray", FULL, 235, 235),
        ("ffv1", "gray", LIMITED, 235, 255),
        ("ffv1", "gray", LIMITED, 16, 0),
        ("ffv1", "gray", 0, 235, 235),
        ("ffv1", "gray10le", LIMITED, 235 * 4, 255),
        ("ffv1", "gray16le", FULL, 128 * 256, 128),
        ("libx264", "gray", LIMITED, 235, 255),
        ("libx264", "gray", FULL, 235, 235),
        ("libx264", "gray", 0, 235, 255),
        ("png", "gray", 0, 200, 200),
    ],
)
def test_grey(tmp_path: Path, codec: str, pix_fmt: str, color_range: int, value: int, shown: int) -> None:
    frame = planar([value], pix_fmt, 64, 48)
    frame.color_range = color_range
    path = write(tmp_path / ("x.mov" if codec == "png" else "x.mkv"), [frame, frame], codec=codec, pix_fmt=pix_fmt)
    assert worst(read(path)[0].image, (shown, shown, shown)) <= 2


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("png", "rgba"), ("png", "rgb24"), ("png", "rgb48be"), ("qtrle", "argb")]
)
def test_rgb_and_alpha(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    """Alpha is dropped: the colour stays as stored."""
    rgba = np.empty((48, 64, 4), np.uint8)
    rgba[:] = (200, 30, 60, 0)
    frame = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format=pix_fmt)
    path = write(tmp_path / "x.mov", [frame, frame], codec=codec, pix_fmt=pix_fmt)
    assert worst(read(path)[1].image, (200, 30, 60)) <= 1


def test_palette(tmp_path: Path) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 255, np.uint8)).reformat(format="rgb8")
    path = write(tmp_path / "x.gif", [frame, frame], codec="gif", pix_fmt="rgb8")
    assert worst(read(path)[0].image, (255, 255, 255)) <= 4  # 3 bits a colour


def test_size_that_changes_within_a_stream(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{w}.ts", [solid(5, w, w)] * 4).read_bytes() for w in (64, 96)]
    (tmp_path / "x.ts").write_bytes(b"".join(parts))
    frames = read(tmp_path / "x.ts")
    assert [f.width for f in frames] == [64] * 4 + [96] * 4


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation(tmp_path: Path, degrees: int) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :32] = 255  # white at the top left
    path = tmp_path / "x.mp4"
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees)  # FFmpeg's angles run counterclockwise
        frame = av.VideoFrame.from_ndarray(image, "rgb24")
        for index in range(3):
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    expected = np.rot90(image, degrees // 90)
    with source_for(path) as source:
        info = source.open()
        frames = list(source.frames())
    assert (info.height, info.width) == expected.shape[:2]
    assert len(frames) == 3
    for shown in frames:
        assert shown.image.flags.c_contiguous
        assert np.abs(shown.image.astype(int) - expected).mean() < 6


def test_mirrored(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:24, :16] = 255
    path = tmp_path / "x.mp4"
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_matrix([-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30])
        out.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        out.mux(stream.encode())
    assert np.abs(read(path)[0].image.astype(int) - image[:, ::-1]).mean() < 6


# --- Files that are not what they should be


def test_text_named_mp4(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_text("this is no video\n" * 400)
    with pytest.raises(SourceError, match="is no video that can be read"):
        source_for(path).open()


def test_text(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("FFmpeg would make a film of this\n" * 400)
    with pytest.raises(SourceError, match="is text, no video"):
        source_for(path).open()


def add_sound(out: av.container.OutputContainer) -> av.AudioStream:
    return out.add_stream("aac", rate=16000)


def play(out: av.container.OutputContainer, stream: av.AudioStream) -> None:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
    frame.sample_rate = 16000
    out.mux(stream.encode(frame))
    out.mux(stream.encode())


def test_sound_without_pictures(tmp_path: Path) -> None:
    with av.open(tmp_path / "x.mp4", "w") as out:
        play(out, add_sound(out))
    with pytest.raises(SourceError, match=r"has no video; it holds audio$"):
        source_for(tmp_path / "x.mp4").open()


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    with av.open(tmp_path / "x.mp4", "w") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        audio = add_sound(out)
        out.mux(cover.encode(solid(3).reformat(format="yuvj420p")))
        out.mux(cover.encode())
        play(out, audio)
    with pytest.raises(SourceError, match="apart from a cover picture"):
        source_for(tmp_path / "x.mp4").open()


@pytest.mark.parametrize(
    ("suffix", "codec", "format_options", "total"),
    [
        ("mp4", "libx264", {"movflags": "faststart"}, " of 40"),
        ("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}, " of "),
        ("avi", "mpeg4", {}, " of 40"),
        ("mkv", "libx264", {}, ""),
    ],
)
def test_cut_recordings(tmp_path: Path, suffix: str, codec: str, format_options: dict[str, str], total: str) -> None:
    whole = write(
        tmp_path / f"whole.{suffix}", map(noisy, range(40)), codec=codec, format_options=format_options, g="10"
    )
    assert len(read(whole)) == 40
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: len(data) * 6 // 10])
    source, frames = source_for(cut), []
    source.open()
    with pytest.raises(TruncatedError, match=rf"ends early: \d+{total}") as caught:
        frames.extend(iter(source.frames()))
    source.close()
    # An index and a header stand in front; the cut takes two fifths of the pictures.
    count = source._next_id
    assert 20 <= count <= 25
    assert f" {count}" in str(caught.value)


def test_mp4_that_was_never_closed(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", map(noisy, range(5)))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-1500])
    with pytest.raises(TruncatedError, match=r"its index \(moov\) is missing"):
        source_for(cut).open()


def test_damaged_packets_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp4", map(noisy, range(30)), g="5", bf="0")
    with av.open(path) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for pos, size in places[10:13]:
        data[pos : pos + size] = b"\xff" * size
    path.write_bytes(data)
    with source_for(path) as source:
        source.open()
        frames = list(source.frames())
        assert source.decode_drops == 3
    assert len(frames) == 27
    assert [f.frame_id for f in frames] == list(range(27))


def test_file_of_nothing_but_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mp4", map(noisy, range(5)))
    with av.open(path) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for pos, size in places:
        data[pos : pos + size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.raises(SourceError, match="none of its pictures can be decoded"):
        source_for(path).open()


@pytest.mark.parametrize("size", [0, 1, 7, 40, 300])
def test_stumps_of_files(tmp_path: Path, size: int) -> None:
    whole = write(tmp_path / "whole.mp4", [solid(1)] * 3)
    stump = tmp_path / "stump.mp4"
    stump.write_bytes(whole.read_bytes()[:size])
    with pytest.raises(SourceError):
        source_for(stump).open()


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.mp4"
    path.write_text("no video\n" * 400)
    with pytest.raises(SourceError):
        source_for(path).open()
    assert capfd.readouterr() == ("", "")


# --- Real clips


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real clips beside the repository ({REAL.name}/)")
@pytest.mark.parametrize("path", sorted(REAL.glob("*.mp4")), ids=lambda p: p.stem)
def test_real_clips(path: Path) -> None:
    with av.open(path) as container:
        container.streams.video[0].thread_type = "AUTO"
        expected = [frame.pts for frame in container.decode(video=0)]
    pts, ids = [], []
    with source_for(path) as source:
        info = source.open()
        for frame in source.frames():
            pts.append(frame.pts)
            ids.append(frame.frame_id)
        assert source.decode_drops == 0
    assert pts == expected
    assert ids == list(range(len(expected)))
    assert info.frame_count == len(expected)
