"""Pictures of all kinds become upright RGB, and none that is broken stops the others."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streamer.errors import SourceError
from streamer.sources.images import Params, build, read_picture

RED = (200, 30, 60)


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def solid(*value: int, dtype: type = np.uint8) -> np.ndarray:
    return np.full((5, 7, len(value)), value, dtype)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "ppm"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    image = read_picture(save(tmp_path / f"x.{suffix}", solid(*RED), **options))
    assert (image.shape, image.dtype) == ((5, 7, 3), np.uint8)
    assert np.abs(image.astype(int) - RED).max() <= 2
    assert image.flags.c_contiguous


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (np.full((5, 7), 90, np.uint8), (90, 90, 90)),
        (np.full((5, 7), 90 * 256 + 17, np.uint16), (90, 90, 90)),
        (np.full((5, 7), 70_000, np.int32), (255, 255, 255)),
        (np.full((5, 7), 0.5, np.float32), (127, 127, 127)),
        (solid(*RED, 255), RED),
        (solid(*RED, 0), (0, 0, 0)),
        (solid(200, 100, 50, 128), (100, 50, 25)),
        (np.full((5, 7), True), (255, 255, 255)),
    ],
)
def test_depths_and_alpha(tmp_path: Path, array: np.ndarray, shown: tuple[int, int, int]) -> None:
    image = read_picture(save(tmp_path / "x.tif", array))
    assert np.abs(image.astype(int) - shown).max() <= 1


def test_palette(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(solid(*RED)).quantize(4).save(path)
    with Image.open(path) as saved:
        assert saved.mode == "P"
    assert np.abs(read_picture(path).astype(int) - RED).max() <= 2


def test_transparent_palette(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((5, 7), np.uint8), "L").convert("P")
    image.putpalette([*RED] * 256)
    image.save(tmp_path / "x.png", transparency=0)
    assert read_picture(tmp_path / "x.png").max() == 0


@pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation(tmp_path: Path, orientation: int, quarters: int) -> None:
    array = np.zeros((40, 60, 3), np.uint8)
    array[:20, :30] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_picture(save(tmp_path / "x.jpg", array, exif=exif))
    expected = np.rot90(array, quarters)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 3


def test_one_pixel(tmp_path: Path) -> None:
    assert read_picture(save(tmp_path / "x.png", np.zeros((1, 1, 3), np.uint8))).shape == (1, 1, 3)


def huge_png(path: Path, side: int) -> Path:
    """A white picture of side×side pixels, one bit each, in a few kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + b"\xff" * ((side + 7) // 8)
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("side", [11_000, 20_000])
def test_huge_picture(tmp_path: Path, side: int) -> None:
    path = huge_png(tmp_path / "x.png", side)
    with pytest.raises(SourceError, match=r"limit is 100,000,000"):
        read_picture(path)


def test_broken_pictures_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for index in range(4):
        save(tmp_path / f"{index}.png", solid(10 * index, 0, 0))
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "2.png").write_text("no picture")
    with caplog.at_level(logging.WARNING), build(Params(), uri=str(tmp_path), name="x") as source:
        info = source.open()
        frames = list(source.frames())
        assert source.decode_drops == 2
    assert info.frame_count == 4
    assert [(f.frame_id, f.pts, f.seconds) for f in frames] == [(0, 0, 0.0), (1, 3, 3.0)]
    assert sum("left out" in record.message for record in caplog.records) == 2


def test_nothing_but_broken_pictures(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("no picture")
    with pytest.raises(SourceError, match="is no picture that can be read"):
        build(Params(), uri=str(tmp_path / "1.png"), name="x").open()
    (tmp_path / "2.jpg").write_text("no picture")
    with pytest.raises(SourceError, match="none of 2 pictures can be read"):
        build(Params(), uri=str(tmp_path), name="x").open()


def test_time_base(tmp_path: Path) -> None:
    save(tmp_path / "1.png", solid(1, 2, 3))
    save(tmp_path / "2.png", solid(1, 2, 3))
    with build(Params(seconds_per_picture=0.04), uri=str(tmp_path), name="x") as source:
        source.open()
        assert [f.seconds for f in source.frames()] == [0.0, 0.04]
