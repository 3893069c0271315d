"""Winograd's way to a 3x3 convolution, F(4x4, 3x3): a quarter of the multiply-adds.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308). The map is cut into tiles of 4x4
results, each of which sees 6x6 values d; with a kernel g, the tile's result is

    A^T [(G g G^T) * (B^T d B)] A

where * multiplies value by value. Over channels, * becomes a matrix product at each of the 36 places: 36 products for
16 results instead of 144. B, G and A are those for the points 0, 1, -1, 2, -2 and infinity; in float32 they cost
rounding errors of about 1e-4 of the results' standard deviation, in bfloat16 far too much.

It pays where the products outweigh the transforms, with several hundred channels in and out, and on maps of more than
a few tiles: the transformed kernel, four times as large as the kernel, has to be read too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["WinogradConv"]

_RESULTS = 4  # a side of a tile's results
_SEEN = 6  # a side of what a tile sees

_BT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_AT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


class WinogradConv(nn.Module):
    """The convolution with a kernel (O, C, 3, 3), padded by 1, for inference: its weight is a transformed copy.

    Made of plain tensor operations whose shapes follow the input's, so that a traced graph holds for any size.
    """

    bt: Tensor
    at: Tensor

    def __init__(self, kernel: Tensor) -> None:
        super().__init__()
        g = torch.tensor(_G, dtype=torch.float64, device=kernel.device)
        # Columns before rows, as the input's transform leaves them.
        transformed = torch.einsum("bx,ay,ocyx->baco", g, g, kernel.detach().double()).flatten(0, 1)
        self.weight = nn.Parameter(transformed.to(kernel.dtype).contiguous(), requires_grad=False)  # (36, C, O)
        self.register_buffer("bt", torch.tensor(_BT, dtype=kernel.dtype, device=kernel.device))
        self.register_buffer("at", torch.tensor(_AT, dtype=kernel.dtype, device=kernel.device))

    def forward(self, x: Tensor) -> Tensor:
        """(B, O, H, W), channels last in memory, of (B, C, H, W)."""
        batch, channels, height, width = x.shape
        down, across = _tiles(height), _tiles(width)
        x = F.pad(x, (1, 1 + _RESULTS * across - width, 1, 1 + _RESULTS * down - height))
        x = x.permute(2, 3, 0, 1)
        x = _transformed(self.bt, _seen(x, 0))  # (6, down, columns, B, C)
        x = _transformed(self.bt, _seen(x, 2))  # (6 of columns, 6 of rows, down, across, B, C)
        x = x.reshape(_SEEN * _SEEN, -1, channels) @ self.weight
        x = _transformed(self.at, x.reshape(_SEEN, _SEEN, -1))  # (4 of columns, 6 of rows, ...)
        x = self.at @ x
        x = x.reshape(_RESULTS, _RESULTS, down, across, batch, -1).permute(2, 1, 3, 0, 4, 5)
        x = x.reshape(_RESULTS * down, _RESULTS * across, batch, -1)
        return x[:height, :width].permute(2, 3, 0, 1)


def _tiles(size: int) -> int:
    return (size + _RESULTS - 1) // _RESULTS


def _seen(x: Tensor, axis: int) -> Tensor:
    """The 6 places of each tile along an axis of 4 n + 2 places, as a new first axis: (6, ..., n, ...)."""
    ends = (-2, -2, None, None, None, None)  # the first two places of a tile that would begin behind the last
    before = (slice(None),) * axis
    return torch.stack([x[(*before, slice(place, end, _RESULTS))] for place, end in enumerate(ends)])


def _transformed(matrix: Tensor, x: Tensor) -> Tensor:
    """A matrix (m, n) applied to the first axis of x (n, ...)."""
    return (matrix @ x.flatten(1)).reshape(-1, *x.shape[1:])
