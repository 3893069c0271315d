"""Pixel accuracy of a segmentation against masks made by hand: CamVid's driving pictures.

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

# CamVid's class in the mask -> ADE20K id. Left out: 2 pole, 6 sign, 7 fence, 10 bicyclist, 11 void.
CAMVID = {0: 3, 1: 2, 3: 7, 4: 12, 5: 5, 8: 21, 9: 13}  # sky, building, road, pavement, tree, car, pedestrian
_NO_CLASS = 255

Map = NDArray[np.uint8]


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
        truth = _truth(path, rgb.shape[:2])
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


def _truth(picture: Path, size: tuple[int, int]) -> Map:
    """A mask in ADE20K ids, `_NO_CLASS` where the class is none of `CAMVID`."""
    file = picture.with_name(f"{picture.stem}_mask.png")
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file.is_file() else None
    if mask is None or mask.shape != size:
        raise ManifestError(f"{file}: a mask of {size[1]}x{size[0]} pixels is expected for {picture.name}")
    table = np.full(256, _NO_CLASS, np.uint8)
    for theirs, ours in CAMVID.items():
        table[theirs] = ours
    return np.asarray(table[mask], np.uint8)
