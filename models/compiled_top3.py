"""The three best classes of every pixel by a backend: what `models.torch_encoding.top3_on_device` does, but sooner.

Where two probabilities tie, another class may come first, and a score may differ by 1/255. So it serves live frames;
files are made by torch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backends.base import Array
from models.encoding import LabelBase, SemanticMap
from models.engine import Engine
from models.score_maps import resized_rows, strip_rows

__all__ = ["CompiledTop3"]

_KEPT = 3
_FULL_SCORE = 255
_EXAMPLE = ((1, 8, 30), 71)  # rows (K, n, w), and W


class CompiledTop3:
    """Enlarges class logits a strip of rows at a time and keeps three classes of each pixel.

    Args:
        class_ids: the ADE20K id (1..150, or 0 for none) of each of the K channels; three of them at least are no 0.
        engine: the backend; it computes in float32 whatever the engine's precision.

    Raises:
        ModelError: the backend has no such device.
    """

    def __init__(self, class_ids: Sequence[int], engine: Engine) -> None:
        ids = np.asarray(class_ids)
        self._ids = ids[ids > 0]
        (_, rows, columns), width = _EXAMPLE
        examples = (torch.zeros(len(ids), rows, columns), torch.zeros(width))
        self._run = replace(engine, precision="f32").compile_module(_StripTop3(ids > 0), examples)

    def lane(self) -> CompiledTop3:
        """Another one over the same compiled graph, for a thread of its own."""
        lane = copy.copy(self)
        lane._run = self._run.lane()
        return lane

    def __call__(self, logits: Tensor, size: tuple[int, int], base: LabelBase) -> SemanticMap:
        """The map at `size` of logits (K, h, w) float32 on the CPU.

        Raises:
            ValueError: a probability is NaN.
        """
        height, width = size
        columns = np.zeros(width, np.float32)
        values = (self._ids - 1 + base).astype(np.uint8)
        labels = np.empty((_KEPT, *size), np.uint8)
        scores = np.empty_like(labels)
        step = strip_rows(logits.shape[0], width)
        for start in range(0, height, step):
            stop = min(start + step, height)
            rows = resized_rows(logits, torch.arange(start, stop), (height, logits.shape[2]))
            best, channels = self._run(rows.numpy(), columns)
            labels[:, start:stop], scores[:, start:stop] = values[channels], _eight_bit(best)
        return SemanticMap(labels, scores)


class _StripTop3(nn.Module):
    """Probabilities and channels (3, n, W) of logits (K, n, w); a second input (W,) only says how wide."""

    def __init__(self, kept: Array) -> None:
        super().__init__()
        self.kept = None if kept.all() else torch.from_numpy(kept.nonzero()[0])

    def forward(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """See above; channels are counted among those kept."""
        size = (rows.shape[1], columns.shape[0])
        p = F.interpolate(rows[None], size, mode="bilinear", align_corners=False)[0].softmax(0)
        best, channels = (p if self.kept is None else p.index_select(0, self.kept)).topk(_KEPT, dim=0)
        return best, channels


def _eight_bit(p: Array) -> Array:
    if np.isnan(p).any():
        raise ValueError("a probability is NaN: the segmenter's output is broken")
    return np.asarray(np.rint(_FULL_SCORE * p.clip(0, 1)), np.uint8)
