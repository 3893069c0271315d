"""What a segmenter says of a picture before it is enlarged, and its probabilities, a strip of rows at a time.

150 classes of a picture of 960×540 are 311 MB in float32; with intermediate results several times that. A strip of
rows, enlarged and normalised on its own, has the same numbers as the whole and needs a few megabytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ClassLogits", "MaskWindow", "QueryMasks", "ScoreMap", "probability_strips", "resized_rows", "strip_rows"]

_STRIP_NUMBERS = 1_000_000  # in a strip: 4 MB, a few times that while it is made; larger ones are no faster
_TINY = 1e-12  # where no query sees anything, every class is as likely


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
        numbers = torch.arange(start, stop, device=self.logits.device)
        return resized_rows(self.logits, numbers, size).softmax(0)


@dataclass(frozen=True)
class MaskWindow:
    """What the queries of a network say of a part of the picture that it saw."""

    masks: Tensor  # (Q, h, w) logits over the window
    classes: Tensor  # (Q, K) probability of each class; what is missing to 1 is "no object"
    top: int  # where the window lies, in pixels of the picture as the network saw it
    left: int


class QueryMasks(ScoreMap):
    """Masks and their classes: a pixel's class has the sum over queries of class probability × mask probability.

    Cheng et al., "Per-Pixel Classification is Not All You Need for Semantic Segmentation" (arXiv 2107.06278). Masks are
    enlarged to what the network saw; where windows overlap, their scores are averaged; then the scores are resized
    and divided by their sum.
    """

    def __init__(self, windows: Sequence[MaskWindow], window_size: tuple[int, int]) -> None:
        self.windows = windows
        self.window_size = window_size
        self.seen = (
            max(window.top for window in windows) + window_size[0],
            max(window.left for window in windows) + window_size[1],
        )

    @property
    def channels(self) -> int:
        """See `ScoreMap.channels`."""
        return self.windows[0].classes.shape[1]

    def rows(self, start: int, stop: int, size: tuple[int, int]) -> Tensor:
        """See `ScoreMap.rows`."""
        numbers = torch.arange(start, stop, device=self.windows[0].masks.device)
        above, below, share = _neighbours(numbers, self.seen[0], size[0])
        needed, place = torch.unique(torch.cat([above, below]), return_inverse=True)
        scores = self._scores(needed)
        above, below = place.tensor_split(2)
        scores = _widened(torch.lerp(scores[:, above], scores[:, below], share[:, None]), size[1]) + _TINY
        return scores / scores.sum(0)

    def _scores(self, numbers: Tensor) -> Tensor:
        """(K, n, w) class scores in these rows of the picture as the network saw it."""
        height, width = self.window_size
        total = self.windows[0].masks.new_zeros(self.channels, len(numbers), self.seen[1])
        looks = total.new_zeros(total.shape[1:])
        for window in self.windows:
            inside = ((numbers >= window.top) & (numbers < window.top + height)).nonzero()[:, 0]
            masks = resized_rows(window.masks, numbers[inside] - window.top, self.window_size).sigmoid()
            part = slice(window.left, window.left + width)
            total[:, inside, part] += torch.einsum("qk,qhw->khw", window.classes, masks)
            looks[inside, part] += 1
        return total / looks.clamp(min=1)


def resized_rows(x: Tensor, numbers: Tensor, size: tuple[int, int]) -> Tensor:
    """These rows (n,) of (C, h, w), resized to (C, H, W) bilinearly with align_corners=False: (C, n, W).

    The same as `F.interpolate` of the whole, within the rounding of float32.
    """
    above, below, share = _neighbours(numbers, x.shape[1], size[0])
    return _widened(torch.lerp(x[:, above], x[:, below], share[:, None].to(x.dtype)), size[1])


def probability_strips(maps: Sequence[ScoreMap], size: tuple[int, int]) -> Iterator[Tensor]:
    """Probabilities (K, n, W) float32 at `size` = (H, W), n rows at a time from the top: the mean over the maps."""
    height, width = size
    step = strip_rows(maps[0].channels, width)
    for start in range(0, height, step):
        stop = min(start + step, height)
        total = maps[0].rows(start, stop, size)
        for other in maps[1:]:
            total = total + other.rows(start, stop, size)
        yield total / len(maps) if len(maps) > 1 else total


def strip_rows(channels: int, width: int) -> int:
    """How many rows a strip of a map has."""
    return max(1, _STRIP_NUMBERS // (channels * width))


def _neighbours(numbers: Tensor, height: int, wanted: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where rows (n,) of a map of `wanted` rows lie in one of `height`: between which two, and how near the second."""
    y = ((numbers.double() + 0.5) * (height / wanted) - 0.5).clamp(0, height - 1)
    above = y.floor().long()
    return above, (above + 1).clamp(max=height - 1), (y - above).float()


def _widened(rows: Tensor, width: int) -> Tensor:
    if rows.shape[2] == width:
        return rows
    return F.interpolate(rows[None], (rows.shape[1], width), mode="bilinear", align_corners=False)[0]
