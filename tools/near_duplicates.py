"""Pictures of different splits that show nearly the same photograph: what a network learnt by heart is no evidence.

Two steps. A perceptual hash of 64 bits (the signs of the lowest frequencies) is compared for every pair, and for every
mirrored pair; few are alike enough to go on. Of those the fine detail is correlated, moved against each other by up to
an eighth, so that another crop or another step of the photographer is found as well. Detail, not luminance: sky above
land correlates well with any other sky above land.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.data.manifest import PictureManifest
from tools.parallel import default_workers, in_order

Progress = Callable[[int, int], None]
Hashes = NDArray[np.uint64]
Details = NDArray[np.float16]

DISTANCE = 20  # bits of 64 in which candidates may differ; two photographs without relation differ in 32
# The 19 pairs above 0.39 among 1.2 million candidates of the 18 scenes' pictures (train against val) show the same from
# the same side. The next is at 0.345; of the 28 that follow there two show one landscape in two lights, the rest have
# nothing in common.
CORRELATION = 0.38

_SIDE, _HASH_SIDE = 64, 32  # of the squashed pictures
_FREQUENCIES = 8  # a side of the block of lowest ones
_MARGIN = _SIDE // 8  # how far details are moved
_SCALE, _FAINTEST = 2.0, 2.0  # of detail: pixels of the squashed picture, grey levels
_NOTHING = 0.1  # grey levels of detail under which a picture shows nothing
_MOST_DISTANCES = 4_000_000  # in memory at once


@dataclass(frozen=True)
class Twin:
    """A picture and another of another split that shows nearly the same; the fields are the columns of the table.

    Attributes:
        path, split: the picture, of the split that is to be clean.
        other_path, other_split: its twin.
        distance: bits of 64 in which their hashes differ.
        correlation: of their detail, at most 1.
        mirrored: the twin shows it as in a mirror.
    """

    path: str
    split: str
    other_path: str
    other_split: str
    distance: int
    correlation: float
    mirrored: bool


@dataclass(frozen=True)
class Fingerprints:
    """What is compared of N pictures.

    Attributes:
        hashes, mirrored_hashes: (N,) of the pictures and of their mirror images.
        details: (N, 64, 64), 0 everywhere where a picture shows nothing.
    """

    hashes: Hashes
    mirrored_hashes: Hashes
    details: Details


def find_twins(
    pictures: PictureManifest, others: PictureManifest, distance: int, reading: Progress, comparing: Progress
) -> list[Twin]:
    """The twins that `pictures` have among `others`, in the order of `pictures`, the most alike first.

    Pictures of one colour are nobody's twins.

    Args:
        pictures: those that are to be clean, such as the split val.
        others: those that they are compared with, such as the split train.
        distance: in how many bits the hashes of candidates may differ.
        reading, comparing: hear how many pictures are done, of how many.

    Raises:
        ManifestError: a picture is missing or cannot be read.
    """
    total = len(pictures) + len(others)
    ours = fingerprints(pictures, lambda done: reading(done, total))
    theirs = fingerprints(others, lambda done: reading(len(pictures) + done, total))
    found: dict[tuple[int, int], Twin] = {}
    for i, j, bits, mirrored in candidates(ours, theirs, distance):
        detail = ours.details[i][:, ::-1] if mirrored else ours.details[i]
        alike = correlation(detail, theirs.details[j])
        if alike >= CORRELATION and ((i, j) not in found or found[i, j].correlation < alike):
            one, other = pictures.entries[i], others.entries[j]
            found[i, j] = Twin(one.path, one.split, other.path, other.split, bits, round(alike, 4), mirrored)
        comparing(i + 1, len(pictures))
    return [found[key] for key in sorted(found, key=lambda key: (key[0], -found[key].correlation))]


def twins_csv(twins: list[Twin]) -> str:
    """The table `path,split,other_path,other_split,distance,correlation,mirrored`, mirrored as 0 or 1."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([field.name for field in fields(Twin)])
    table.writerows([*cells, int(mirrored)] for *cells, mirrored in map(astuple, twins))
    return text.getvalue()


def fingerprints(pictures: PictureManifest, progress: Callable[[int], None] = lambda _: None) -> Fingerprints:
    """Read all pictures; `progress` hears how many are done.

    Raises:
        ManifestError: a picture is missing or cannot be read.
    """
    rows = []
    with closing(in_order(lambda i: _fingerprint(pictures[i]), range(len(pictures)), default_workers())) as parts:
        for row in parts:
            rows.append(row)
            progress(len(rows))
    hashes, mirrored, details = zip(*rows, strict=True)
    return Fingerprints(np.array(hashes, np.uint64), np.array(mirrored, np.uint64), np.stack(details))


def candidates(ours: Fingerprints, theirs: Fingerprints, distance: int) -> Iterator[tuple[int, int, int, bool]]:
    """Pairs whose hashes differ in at most `distance` bits: position in `ours`, in `theirs`, bits, mirrored or not."""
    rows = max(1, _MOST_DISTANCES // len(theirs.hashes))
    for start in range(0, len(ours.hashes), rows):
        part = slice(start, start + rows)
        both = np.stack([ours.hashes[part], ours.mirrored_hashes[part]], axis=1)
        bits = bit_count(both[:, :, None] ^ theirs.hashes)
        for i, mirrored, j in np.argwhere(bits <= distance):
            yield start + int(i), int(j), int(bits[i, mirrored, j]), bool(mirrored)


def perceptual_hash(luminance: NDArray[np.float32]) -> np.uint64:
    """64 bits of a picture's luminance (32, 32): which of its lowest frequencies are above their median."""
    lowest = cv2.dct(luminance)[:_FREQUENCIES, :_FREQUENCIES].ravel()
    # The first one is the mean, which is far above the others and says nothing.
    return np.packbits(lowest > np.median(lowest[1:])).view(np.uint64)[0]


def detail_of(luminance: NDArray[np.float32]) -> Details:
    """Fine detail of a picture's luminance (64, 64), as strong in soft parts as in hard ones; 0 of a single colour.

    Horizons and frames, which many pictures share, go with the means of rows and columns.
    """
    detail = luminance - cv2.GaussianBlur(luminance, (0, 0), _SCALE)
    if detail.std() < _NOTHING:
        return np.zeros_like(detail, np.float16)
    strength = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 2 * _SCALE))
    detail = detail / (strength + _FAINTEST)
    detail -= detail.mean(axis=0, keepdims=True)
    return (detail - detail.mean(axis=1, keepdims=True)).astype(np.float16)


def correlation(one: Details, other: Details) -> float:
    """How well two details (64, 64) correlate where they do best, moved by up to an eighth; 0 if one has none."""
    if not one.any() or not other.any():
        return 0.0
    middle = np.ascontiguousarray(one[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN], np.float32)
    if not np.ptp(middle):
        return 0.0  # OpenCV would call it a perfect match
    return float(cv2.matchTemplate(other.astype(np.float32), middle, cv2.TM_CCOEFF_NORMED).max())


def bit_count(words: Hashes) -> NDArray[np.uint8]:
    """How many bits of each word are set."""
    # By halves, as in Warren's "Hacker's Delight" 5-1; numpy has a function for it from version 2 on only.
    pairs = words - ((words >> _word(1)) & _word(0x5555555555555555))
    fours = (pairs & _word(0x3333333333333333)) + ((pairs >> _word(2)) & _word(0x3333333333333333))
    eights = (fours + (fours >> _word(4))) & _word(0x0F0F0F0F0F0F0F0F)
    return ((eights * _word(0x0101010101010101)) >> _word(56)).astype(np.uint8)


def _word(value: int) -> Any:
    return np.uint64(value)


def _fingerprint(picture: NDArray[np.uint8]) -> tuple[np.uint64, np.uint64, Details]:
    """Hash, hash of the mirror image, detail."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    luminance = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    coarse = cv2.resize(luminance, (_HASH_SIDE, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    mirrored = np.ascontiguousarray(coarse[:, ::-1])
    return perceptual_hash(coarse), perceptual_hash(mirrored), detail_of(luminance)
