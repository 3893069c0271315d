"""What the frozen part of the network says about every view of every picture, on disk, so that it runs once.

A picture has many views, and the class scores of one are a quarter of a megabyte: a file holds them, and the operating
system keeps in memory what fits.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.package import ModelPackage
from models.scene_network import SceneNetwork
from streamer.errors import SourceError
from streamer.files import output_errors
from streamer.sources.images import read_picture
from tools.parallel import default_workers, in_order
from tools.train.frozen import FrozenModule
from tools.train.own.start import ClassifierInputs
from tools.train.own.views import all_views

_log = logging.getLogger(__name__)

_MOST_AT_ONCE = 16  # views that the network takes in one go

Rows = NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Features:
    """Inputs of the classifier for N pictures of V views each; view 0 is the whole picture.

    Attributes:
        arrays: one a classifier input, (N, V, ...) float16.
        rows: (N,) which of the pictures that were asked for; those that cannot be read are not there.
        broken: the others, with the reason.
    """

    arrays: tuple[NDArray[np.float16], ...]
    rows: Rows
    broken: dict[int, str]

    @property
    def views(self) -> int:
        """V."""
        return int(self.arrays[0].shape[1])

    def take(self, pictures: Rows, views: Rows) -> tuple[Tensor, ...]:
        """The classifier's inputs (B, ...) float32 of B pictures, by their place in `rows`, a view of each."""
        return tuple(torch.from_numpy(array[pictures, views].astype(np.float32)) for array in self.arrays)


class FrozenPart:
    """Encoder and segmenter of a network, with the preprocessing of its model.

    Attributes:
        preprocess: from a picture to what it takes.
        view_bytes: how much the features of a view take.
    """

    def __init__(self, network: SceneNetwork, package: ModelPackage) -> None:
        self.preprocess = package.preprocess
        example = torch.zeros(1, 3, self.preprocess.height, self.preprocess.width)
        self._run = FrozenModule(ClassifierInputs(network), example)
        self.view_bytes = sum(array.nbytes for array in self(example.numpy()))

    def __call__(self, pictures: NDArray[np.float32]) -> tuple[NDArray[np.float16], ...]:
        """The classifier's inputs (B, ...) for normalised pictures (B, 3, H, W)."""
        parts = [
            [x.numpy().astype(np.float16) for x in self._run(torch.from_numpy(pictures[i : i + _MOST_AT_ONCE]))]
            for i in range(0, len(pictures), _MOST_AT_ONCE)
        ]
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def compute_features(
    frozen: FrozenPart, paths: Sequence[Path], rows: Rows, views: int, seed: int, file: Path, progress: Progress
) -> Features:
    """Run the frozen part over the pictures `rows` of `paths`, `views` random changes of each beside the whole.

    Args:
        seed: the changes of a picture depend on it and on its row alone.
        file: `file.0`, `file.1`... hold the arrays and must stay as long as the features.
        progress: hears how many pictures are done, of how many.

    Raises:
        OutputError: the disk does not take the files.
    """

    def prepare(row: int) -> NDArray[np.float32] | str:
        try:
            if not paths[row].is_file():
                return f"no picture at {paths[row]}"
            picture = read_picture(paths[row])
        except (SourceError, OSError) as error:
            return str(error)
        return all_views(picture, views, frozen.preprocess, (seed, row))

    kept: list[int] = []
    broken: dict[int, str] = {}
    store = _Store(file)
    prepared = in_order(prepare, [int(row) for row in rows], default_workers())
    with contextlib.closing(store), contextlib.closing(prepared), output_errors(file):
        for row, pictures in zip(rows.tolist(), prepared, strict=True):
            if isinstance(pictures, str):
                broken[row] = pictures
                _log.warning("%s; left out", pictures)
            else:
                store.add(frozen(pictures))
                kept.append(row)
            progress(len(kept) + len(broken), len(rows))
    return Features(store.open(), np.array(kept, np.int64), broken)


class _Store:
    """Arrays that grow by a picture at a time, each in a file of its own."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._files: list[BinaryIO] = []
        self._shapes: list[tuple[int, ...]] = []
        self._count = 0

    def add(self, arrays: tuple[NDArray[np.float16], ...]) -> None:
        if not self._files:
            self._shapes = [array.shape for array in arrays]
            self._files = [self._path(i).open("wb") for i in range(len(arrays))]
        for file, array in zip(self._files, arrays, strict=True):
            file.write(np.ascontiguousarray(array).data)
        self._count += 1

    def close(self) -> None:
        for file in self._files:
            file.close()

    def open(self) -> tuple[NDArray[np.float16], ...]:
        return tuple(
            np.memmap(self._path(i), np.float16, "r", shape=(self._count, *shape))
            for i, shape in enumerate(self._shapes)
        )

    def _path(self, number: int) -> Path:
        return self._file.with_name(f"{self._file.name}.{number}")
