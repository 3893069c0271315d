"""Decoded pictures and the teacher's maps in memory-mapped files, so that an epoch reads no JPEG.

A cache folder belongs to one manifest, row by row:
`pictures.npy` (N, 288, 288, 3) uint8 RGB, whole pictures squashed; `grey.npy` (N,) bool, True where a picture has no
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
    """The arrays of one manifest; see the module's text for shapes."""

    pictures: NDArray[np.uint8]
    grey: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    scores: NDArray[np.uint8]


def is_grey(rgb: NDArray[np.uint8]) -> bool:
    """Whether a picture (H, W, 3) uint8 has next to no colour."""
    wide = rgb.astype(np.int16)
    return bool((wide.max(axis=2) - wide.min(axis=2)).mean() < _GREY_TOLERANCE)


def build_cache(
    paths: Sequence[Path], folder: Path, teacher: Path, workers: int = 2, report: Report | None = None
) -> PictureCache:
    """Fill (or go on filling) the cache of `paths` in `folder` and open it read-only."""
    folder.mkdir(parents=True, exist_ok=True)
    _allocate(folder, len(paths))
    starts = [s for s in range(0, len(paths), _CHUNK) if not _mark(folder, s).exists()]
    jobs = [(folder, s, list(paths[s : s + _CHUNK])) for s in starts]
    total = -(-len(paths) // _CHUNK)
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


def _fill_chunk(job: tuple[Path, int, list[Path]]) -> None:
    folder, start, paths = job
    assert _teacher is not None
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in _shapes(0)}
    for row, path in enumerate(paths, start=start):
        rgb = read_picture(path)
        if rgb is None:
            raise ManifestError(f"{path} is not a picture that can be read; remove its line from the manifest")
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
