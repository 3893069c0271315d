"""Masks made by hand, of CamVid's driving pictures: to teach a segmentation, and to measure one.

Its classes that scene18 and its teacher know as well, as ADE20K ids; pixels of the others are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.data.manifest import ManifestError, read_picture
from tools.train.teacher import CLASSES, SIDE, top_classes

# CamVid's class in the mask -> ADE20K id. Left out: 2 pole, 6 sign, 7 fence, 10 bicyclist, 11 void.
CAMVID = {0: 3, 1: 2, 3: 7, 4: 12, 5: 5, 8: 21, 9: 13}  # sky, building, road, pavement, tree, car, pedestrian
_NO_CLASS = 255
_SEEN = 0.5  # share of a position's pixels that the mask must name

Map = NDArray[np.uint8]


def mask_file(picture: Path) -> Path:
    """Where the mask of a picture NAME.jpg lies."""
    return picture.with_name(f"{picture.stem}_mask.png")


def corrected(picture: Path, labels: Map, scores: Map) -> tuple[Map, Map]:
    """The teacher's map of a picture with the word of its mask, where that has one, in the place of the teacher's.

    Args:
        picture: with a mask beside it.
        labels, scores: (SIDE, SIDE, 3), as `Teacher.soft_map` gives them.

    Raises:
        ManifestError: the mask is missing or cannot be read.
    """
    truth = _truth(picture)
    seen = _shares(truth != _NO_CLASS)
    of_classes = np.stack([_shares(truth == i) for i in range(CLASSES)], axis=-1)
    by_hand, shares = top_classes(of_classes / np.maximum(seen, 1e-6)[..., None])
    named = (seen >= _SEEN)[..., None]
    return np.where(named, by_hand, labels), np.where(named, shares, scores)


def _shares(pixels: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(SIDE, SIDE) share of each position's pixels that are set."""
    return np.asarray(cv2.resize(pixels.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def camvid_accuracy(folder: Path, segmenters: dict[str, Callable[[Map], Map]]) -> dict[str, Any]:
    """Share of the masks' pixels that each segmenter names as the mask does, overall and by ADE20K id.

    Args:
        folder: pictures NAME.jpg with masks NAME_mask.png.
        segmenters: by name; each takes a picture (H, W, 3) uint8 RGB and gives a map of ADE20K ids of any size.

    Raises:
        ManifestError: there are no pictures, or a mask is missing or of another size.
    """
    pictures = sorted(folder.glob("*.jpg"))
    if not pictures:
        raise ManifestError(f"{folder} has no pictures NAME.jpg with masks NAME_mask.png")
    right: dict[str, NDArray[np.int64]] = {name: np.zeros(256, np.int64) for name in segmenters}
    total = np.zeros(256, np.int64)
    for path in pictures:
        rgb = read_picture(path)
        if rgb is None:
            raise ManifestError(f"{path} is not a picture that can be read")
        truth = _truth(path)
        if truth.shape != rgb.shape[:2]:
            raise ManifestError(f"{mask_file(path)} is of another size than its picture")
        total += np.bincount(truth.ravel(), minlength=256)
        for name, segment in segmenters.items():
            found = cv2.resize(segment(rgb), truth.shape[::-1], interpolation=cv2.INTER_NEAREST)
            right[name] += np.bincount(truth[found == truth], minlength=256)
    known = total.copy()
    known[_NO_CLASS] = 0
    return {
        name: {
            "pixels": round(float(counts[known > 0].sum() / known.sum()), 4),
            "classes": {int(i): round(float(counts[i] / total[i]), 4) for i in np.flatnonzero(known)},
        }
        for name, counts in right.items()
    }


def _truth(picture: Path) -> Map:
    """A picture's mask in ADE20K ids, `_NO_CLASS` where the class is none of `CAMVID`."""
    file = mask_file(picture)
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file.is_file() else None
    if mask is None:
        raise ManifestError(f"{file}: {picture.name} needs a mask that can be read there")
    table = np.full(256, _NO_CLASS, np.uint8)
    for theirs, ours in CAMVID.items():
        table[theirs] = ours
    return np.asarray(table[mask], np.uint8)
