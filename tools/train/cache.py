"""Decoded pictures and the teacher's maps in memory-mapped files, so that an epoch reads no JPEG.

A cache folder belongs to one list of views, row by row:
`pictures.npy` (N, 288, 288, 3) uint8 RGB, squashed to a square; `grey.npy` (N,) bool, True where a picture has no
colour; `labels.npy` and `scores.npy` (N, 72, 72, 3) uint8, the teacher's three best classes (`teacher.py`).
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.data.manifest import ManifestError, read_picture
from tools.train.teacher import SIDE, TOP, Teacher

PICTURE_SIDE = 288
_CHUNK = 64
_GREY_TOLERANCE = 6.0  # mean spread of the three channels under which a picture counts as grey

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PictureCache:
    """The arrays of one list of views; see the module's text for shapes."""

    pictures: NDArray[np.uint8]
    grey: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    scores: NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """What the teacher and the network are shown of a picture file: all of it, unless said otherwise."""

    path: Path
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)  # left, top, right, bottom: shares of the sides
    mirrored: bool = False

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, in the file's own resolution.

        Raises:
            ManifestError: the file cannot be read as a picture.
        """
        rgb = read_picture(self.path)
        if rgb is None:
            raise ManifestError(f"{self.path} is not a picture that can be read; remove its line from the manifest")
        height, width = rgb.shape[:2]
        left, right = (round(share * width) for share in self.box[::2])
        top, bottom = (round(share * height) for share in self.box[1::2])
        return np.ascontiguousarray(rgb[top:bottom, left:right][:, :: -1 if self.mirrored else 1])


def is_grey(rgb: NDArray[np.uint8]) -> bool:
    """Whether a picture (H, W, 3) uint8 has next to no colour."""
    wide = rgb.astype(np.int16)
    return bool((wide.max(axis=2) - wide.min(axis=2)).mean() < _GREY_TOLERANCE)


def build_cache(
    views: Sequence[View], folder: Path, teacher: Path, workers: int = 2, report: Report | None = None
) -> PictureCache:
    """Fill (or go on filling) the cache of `views` in `folder` and open it read-only."""
    folder.mkdir(parents=True, exist_ok=True)
    _allocate(folder, len(views))
    starts = [s for s in range(0, len(views), _CHUNK) if not _mark(folder, s).exists()]
    jobs = [(folder, s, list(views[s : s + _CHUNK])) for s in starts]
    total = -(-len(views) // _CHUNK)
    # "spawn": a forked child would inherit the parent's thread pools in an unknown state.
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=_start_worker, initargs=(teacher,)) as pool:
        for done, _ in enumerate(pool.imap_unordered(_fill_chunk, jobs), start=1):
            if report:
                report("cache", total - len(jobs) + done, total)
    return open_cache(folder)


def open_cache(folder: Path) -> PictureCache:
    """Open a filled cache read-only, without reading it into memory."""
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in _shapes(0)]
    return PictureCache(*arrays)


def _shapes(count: int) -> dict[str, tuple[tuple[int, ...], type]]:
    maps = (count, SIDE, SIDE, TOP)
    return {
        "pictures": ((count, PICTURE_SIDE, PICTURE_SIDE, 3), np.uint8),
        "grey": ((count,), np.bool_),
        "labels": (maps, np.uint8),
        "scores": (maps, np.uint8),
    }


def _allocate(folder: Path, count: int) -> None:
    for name, (shape, dtype) in _shapes(count).items():
        path = folder / f"{name}.npy"
        if path.exists() and np.load(path, mmap_mode="r").shape == shape:
            continue
        for mark in folder.glob("done-*"):
            mark.unlink()
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape).flush()


def _mark(folder: Path, start: int) -> Path:
    return folder / f"done-{start}"


_teacher: Teacher | None = None  # one per worker process


def _start_worker(model: Path) -> None:
    global _teacher
    os.nice(5)
    cv2.setNumThreads(1)
    _teacher = Teacher(model)


def _fill_chunk(job: tuple[Path, int, list[View]]) -> None:
    folder, start, views = job
    assert _teacher is not None
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in _shapes(0)}
    for row, view in enumerate(views, start=start):
        rgb = view.read()
        shrinks = min(rgb.shape[:2]) >= PICTURE_SIDE
        arrays["pictures"][row] = cv2.resize(
            rgb,
            (PICTURE_SIDE, PICTURE_SIDE),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
        arrays["grey"][row] = is_grey(rgb)
        arrays["labels"][row], arrays["scores"][row] = _teacher.soft_map(rgb)
    for array in arrays.values():
        array.flush()
    _mark(folder, start).touch()
