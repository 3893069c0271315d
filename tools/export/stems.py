"""The semantic stem in operations that graphs have; what it computes stands in `models.layers.semantic_stem`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers.semantic_stem import SemanticConv, Top3, last_wins

_SIDE, _STRIDE, _PADDING, _KEPT = 7, 2, 3, 3  # of the kernel; entries of a pixel


class LookUpStem(nn.Module):
    """Sums rows of the weight, as many as a window has entries: an embedding bag, which OpenVINO has.

    In plain ONNX it would be a Gather of 147 rows for each output, half a gigabyte a picture.
    """

    def __init__(self, conv: SemanticConv) -> None:
        super().__init__()
        self.outputs = conv.out_channels
        rows = conv.weight.detach().permute(1, 2, 3, 0).reshape(-1, self.outputs)  # (channel, row tap, column tap)
        self.register_buffer("rows", rows.contiguous())

    def forward(self, labels: Tensor, scores: Tensor) -> Tensor:
        """(B, outputs, H/2, W/2) of labels (B, 3, H, W) uint8 and scores (B, 3, H, W) float32; H and W even."""
        taps = torch.arange(_SIDE * _SIDE, dtype=torch.int32)
        channels = _windows(labels.float() + 1).to(torch.int32)  # floats, since not every run time pads integers
        indices = (channels * (_SIDE * _SIDE) + taps).reshape(-1, _KEPT * _SIDE * _SIDE)
        weights = _windows(last_wins(labels, scores)).reshape(-1, _KEPT * _SIDE * _SIDE)
        sums = F.embedding_bag(indices, self.get_buffer("rows"), per_sample_weights=weights, mode="sum")
        height, width = labels.shape[2] // _STRIDE, labels.shape[3] // _STRIDE
        return sums.view(-1, height, width, self.outputs).permute(0, 3, 1, 2)


class DenseStem(nn.Module):
    """Scatters the entries into the whole semantic tensor, and convolves that."""

    def __init__(self, conv: SemanticConv) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, labels: Tensor, scores: Tensor) -> Tensor:
        """See `LookUpStem.forward`."""
        result: Tensor = self.conv(Top3(labels, scores).dense(self.conv.in_channels - 1))
        return result


def _windows(planes: Tensor) -> Tensor:
    """What each output sees of (B, 3, H, W), 0 all round: (B, H/2, W/2, 3, 49)."""
    height, width = planes.shape[2] // _STRIDE, planes.shape[3] // _STRIDE
    padded = F.pad(planes, (_PADDING,) * 4)
    views = [
        padded[:, :, row : row + _STRIDE * height : _STRIDE, column : column + _STRIDE * width : _STRIDE]
        for row in range(_SIDE)
        for column in range(_SIDE)
    ]
    return torch.stack(views, -1).permute(0, 2, 3, 1, 4)
