"""Near-duplicates: the hash and the correlation by themselves, the pairs of a small data set, and the command."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.commands import run_command_line
from tools.data.manifest import PictureManifest
from tools.near_duplicates import (
    CORRELATION,
    DISTANCE,
    Fingerprints,
    bit_count,
    candidates,
    correlation,
    detail_of,
    find_twins,
    perceptual_hash,
    twins_csv,
)

Change = Callable[[np.ndarray], np.ndarray]


def photograph(seed: int, height: int = 180, width: int = 240) -> np.ndarray:
    """Structure of every size, as photographs have it, (height, width, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cells in (3, 6, 12, 24, 48):
        layer = rng.normal(0, 1 / np.sqrt(cells), (cells, cells, 3))
        total += cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 110 * total, 0, 255).astype(np.uint8)


def jpeg(picture: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 20))[1], cv2.IMREAD_COLOR)


SAME: dict[str, Change] = {
    "the same": lambda p: p,
    "another size": lambda p: cv2.resize(p, (97, 71), interpolation=cv2.INTER_AREA),
    "packed harder": jpeg,
    "without colour": lambda p: np.repeat(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2),
    "darker": lambda p: (p * 0.6).astype(np.uint8),
    "less contrast": lambda p: (60 + p * 0.4).astype(np.uint8),
    "another crop": lambda p: p[6:, :-10],
    "a step aside": lambda p: np.hstack([p[:, 12:], photograph(99)[:, :12]]),
}


def luminance(picture: np.ndarray, side: int) -> np.ndarray:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)


def bits_between(one: np.ndarray, other: np.ndarray) -> int:
    words = [perceptual_hash(luminance(picture, 32)) for picture in (one, other)]
    return int(bit_count(np.array([words[0] ^ words[1]]))[0])


def alike(one: np.ndarray, other: np.ndarray) -> float:
    return correlation(detail_of(luminance(one, 64)), detail_of(luminance(other, 64)))


def test_bits_by_hand():
    words = np.array([0, 1, 0b1011, 2**64 - 1, 2**63], np.uint64)
    assert bit_count(words).tolist() == [0, 1, 3, 64, 1]


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_bits_are_those_of_the_number(numbers: list[int]):
    assert bit_count(np.array(numbers, np.uint64)).tolist() == [number.bit_count() for number in numbers]


def test_hash_by_hand():
    """The fourth cosine along a row alone: its bit, and the bit of the mean."""
    row = np.cos((2 * np.arange(32) + 1) * 4 * np.pi / 64)
    picture = np.tile(100 + 50 * row, (32, 1)).astype(np.float32)
    found = np.unpackbits(np.array([perceptual_hash(picture)]).view(np.uint8))
    assert found[0] == found[4] == 1


def test_candidates_are_those_within_the_distance(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    ours, mirrored, theirs = (rng.integers(0, 2**64, n, dtype=np.uint64) for n in (9, 9, 14))
    theirs[3] = ours[2] ^ np.uint64(0b111)
    theirs[5] = mirrored[7]
    nothing = np.zeros((0, 64, 64), np.float16)
    pair = Fingerprints(ours, mirrored, nothing), Fingerprints(theirs, theirs, nothing)
    assert list(candidates(*pair, 3)) == [(2, 3, 3, False), (7, 5, 0, True)]
    assert list(candidates(*pair, 2)) == [(7, 5, 0, True)]
    every = [
        (i, j, int(hashes[i] ^ theirs[j]).bit_count(), turned)
        for i in range(9)
        for turned, hashes in ((False, ours), (True, mirrored))
        for j in range(14)
    ]
    monkeypatch.setattr("tools.near_duplicates._MOST_DISTANCES", 30)
    assert list(candidates(*pair, 64)) == every


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_the_same_photograph_is_recognised(change: Change):
    picture = photograph(1)
    assert bits_between(picture, change(picture)) <= DISTANCE
    assert alike(picture, change(picture)) > CORRELATION + 0.1


def test_others_are_not():
    assert max(alike(photograph(i), photograph(j)) for i in range(6) for j in range(6, 12)) < CORRELATION - 0.1


@pytest.mark.parametrize("kind", ["horizons", "frames"])
def test_what_many_pictures_share_is_no_likeness(kind: str):
    one, other = photograph(3), photograph(4)
    if kind == "horizons":
        one, other = (np.vstack([p[:90] // 8 + 210, p[90:] // 8 + 20]) for p in (one, other))
    else:
        for picture in (one, other):
            picture[:12] = picture[-12:] = picture[:, :12] = picture[:, -12:] = 255
    assert alike(one, other) < CORRELATION - 0.05


def test_one_colour_is_like_nothing():
    flat = np.full((90, 120, 3), 77, np.uint8)
    assert alike(flat, flat) == alike(flat, photograph(1)) == alike(photograph(1), flat) == 0


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Four pictures of val, two of them with twins in train (one of two twins mirrored), and one of no split."""
    pictures = {
        "val/a.png": photograph(1),
        "val/b.png": photograph(2),
        "val/c.png": photograph(3),
        "val/flat.png": np.full((20, 20, 3), 9, np.uint8),
        "train/a, smaller.png": SAME["another size"](photograph(1)),
        "train/c mirrored.png": photograph(3)[:, ::-1],
        "train/c jpeg.png": jpeg(photograph(3)),
        "train/flat.png": np.full((20, 20, 3), 9, np.uint8),
        **{f"train/{i}.png": photograph(i) for i in range(10, 14)},
    }
    lines = [["path", "scene", "split", "source"]]
    for path, picture in pictures.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / path), picture)
        lines.append([path, "forest", path.partition("/")[0], "ours" if path == "val/a.png" else "theirs"])
    file = tmp_path / "table.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
    return file


PAIRS = [
    ("val/a.png", "train/a, smaller.png", False),
    ("val/c.png", "train/c jpeg.png", False),
    ("val/c.png", "train/c mirrored.png", True),
]


def test_twins_of_a_data_set(table: Path):
    heard: list[tuple[int, int]] = []
    val, train = (PictureManifest.read(table, split=split) for split in ("val", "train"))
    twins = find_twins(val, train, DISTANCE, lambda *_: None, lambda *counts: heard.append(counts))
    assert sorted((twin.path, twin.other_path, twin.mirrored) for twin in twins) == PAIRS
    assert [twin.path for twin in twins] == sorted(twin.path for twin in twins)
    assert {(twin.split, twin.other_split) for twin in twins} == {("val", "train")}
    assert heard == sorted(heard)
    rows = list(csv.DictReader(twins_csv(twins).splitlines()))
    assert [*rows[0]] == ["path", "split", "other_path", "other_split", "distance", "correlation", "mirrored"]
    assert sorted((row["path"], row["other_path"], row["mirrored"] == "1") for row in rows) == PAIRS


@pytest.mark.usefixtures("logs_as_they_were")
def test_command(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "new" / "twins.csv"
    given = ["datasets", "duplicates", "--manifest", str(table)]
    assert run_command_line([*given, "--json", "--output", str(out)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["between"] == ["train", "val"]
    assert (report["pictures"], report["with_twin"], len(report["pairs"])) == (4, 2, 3)
    assert report["sources"]["theirs"] == {"pictures": 3, "with_twin": 1}
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == 3
    assert run_command_line([*given, "--between", "val,train"]) == 0
    said = capsys.readouterr().out
    assert "3 of 8 pictures of train have a twin in val, 3 pairs" in said
    assert "train/c mirrored.png  val/c.png" in said


@pytest.mark.usefixtures("logs_as_they_were")
@pytest.mark.parametrize(
    ("option", "code", "hint"),
    [
        (("--between", "train"), 2, "two different splits"),
        (("--between", "val,val"), 2, "two different splits"),
        (("--between", "train,test"), 1, "splits: train, val"),
        (("--root", "/no/such"), 1, "--root"),
    ],
)
def test_mistakes_of_the_command(table: Path, capsys: pytest.CaptureFixture[str], option, code: int, hint: str):
    assert run_command_line(["datasets", "duplicates", "--manifest", str(table), *option]) == code
    assert hint in capsys.readouterr().err
