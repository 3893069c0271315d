"""Class probabilities out of the teacher's three best classes, and what share of a picture each class has."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tools.train.teacher import CLASSES

GRID = 3  # a picture's parts that shares are taken of, a side


def dense_maps(labels: NDArray[np.uint8], scores: NDArray[np.uint8]) -> Tensor:
    """Probabilities (B, CLASSES, h, w) float32 of three best classes (B, h, w, 3) and round(255 p) of each."""
    index, values = (torch.from_numpy(of).permute(0, 3, 1, 2) for of in (labels, scores))
    batch, _, height, width = index.shape
    return torch.zeros(batch, CLASSES, height, width).scatter_add_(1, index.long(), values / 255)


def class_shares(maps: Tensor) -> Tensor:
    """Share of each class in the picture and in each part of a grid: (B, S, h, w) to (B, S * (1 + GRID * GRID))."""
    return torch.cat([maps.mean((2, 3)), F.adaptive_avg_pool2d(maps, GRID).flatten(1)], dim=1)
