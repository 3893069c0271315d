"""What a segmenter says of a picture before it is enlarged, and its probabilities, a strip of rows at a time.

150 classes of a picture of 960×540 are 311 MB in float32; with intermediate results several times that. A strip of
rows, enlarged and normalised on its own, has the same numbers as the whole and needs a few megabytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_STRIP_NUMBERS = 4_000_000  # in a strip: 16 MB, a few times that while it is made


class ScoreMap(ABC):
    """A segmenter's output for one picture, from which the probabilities at any size follow."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """K, the number of classes."""

    @abstractmethod
    def rows(self, start: int, stop: int, size: tuple[int, int]) -> Tensor:
        """(K, stop - start, W) float32 probabilities: some rows of the map at `size` = (H, W)."""


class ClassLogits(ScoreMap):
    """Logits (K, h, w) float32 of K classes, over the whole picture; resized, then softmaxed."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    @property
    def channels(self) -> int:
        """See `ScoreMap.channels`."""
        return self.logits.shape[0]

    def rows(self, start: int, stop: int, size: tuple[int, int]) -> Tensor:
        """See `ScoreMap.rows`."""
        return resized_rows(self.logits, start, stop, size).softmax(0)


def resized_rows(x: Tensor, start: int, stop: int, size: tuple[int, int]) -> Tensor:
    """Rows `start`..`stop` of (C, h, w), resized to (C, H, W) bilinearly with align_corners=False.

    The whole of `F.interpolate` in any number of pieces, within the rounding of float32.
    """
    height, width = x.shape[1:]
    y = (torch.arange(start, stop, device=x.device, dtype=torch.float64) + 0.5) * (height / size[0]) - 0.5
    y = y.clamp(0, height - 1)
    above = y.floor().long()
    below = (above + 1).clamp(max=height - 1)
    share = (y - above).to(x.dtype)[:, None]
    rows = x[:, above] * (1 - share) + x[:, below] * share
    if width == size[1]:
        return rows
    return F.interpolate(rows[None], (stop - start, size[1]), mode="bilinear", align_corners=False)[0]


def probability_strips(maps: Sequence[ScoreMap], size: tuple[int, int]) -> Iterator[Tensor]:
    """Probabilities (K, n, W) float32 at `size` = (H, W), n rows at a time from the top: the mean over the maps."""
    height, width = size
    step = max(1, _STRIP_NUMBERS // (maps[0].channels * width))
    for start in range(0, height, step):
        stop = min(start + step, height)
        total = maps[0].rows(start, stop, size)
        for other in maps[1:]:
            total = total + other.rows(start, stop, size)
        yield total / len(maps) if len(maps) > 1 else total
