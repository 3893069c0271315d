"""The semantic branch's first convolution, without the tensor that it is defined on.

Of the semantic tensor's 152 channels a pixel has three that are not 0. So an output is the sum of 7 x 7 x 3 rows of
the reshaped weight, each chosen by (label, tap) and weighted by a score: an exact look-up that never builds the tensor.
Its gradient is the same look-up the other way round: rows of the output's gradient, summed per (label, tap).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

__all__ = ["SemanticConv", "Top3", "last_wins"]

_KEPT = 3
_TAPS = 7  # a side of the kernel
_STRIDE = 2
_PADDING = 3
_LONGEST_BAG = 1024  # entries summed at once in the gradient, so that a class that is everywhere is shared by threads


class Top3(NamedTuple):
    """The semantic tensor (B, S + 1, H, W) in short: channel label + 1 has the score, all others are 0.

    Where a pixel has a label twice, the last one wins, as when the three are scattered in their order.
    """

    labels: Tensor  # (B, 3, H, W) integer, 0..S - 1
    scores: Tensor  # (B, 3, H, W) float32, 0..1

    def dense(self, semantic_classes: int) -> Tensor:
        """The tensor itself, (B, S + 1, H, W)."""
        batch, _, height, width = self.labels.shape
        tensor = self.scores.new_zeros(batch, semantic_classes + 1, height, width)
        for k in range(_KEPT):
            tensor.scatter_(1, self.labels[:, k : k + 1].long() + 1, self.scores[:, k : k + 1])
        return tensor


class SemanticConv(nn.Conv2d):
    """Convolution 7x7, stride 2, without bias, over a semantic tensor or its three entries a pixel.

    Args:
        semantic_classes: S; the semantic tensor has S + 1 channels.
        outputs: channels of the result.
    """

    def __init__(self, semantic_classes: int, outputs: int) -> None:
        super().__init__(semantic_classes + 1, outputs, _TAPS, stride=_STRIDE, padding=_PADDING, bias=False)

    def forward(self, semantic: Tensor | Top3) -> Tensor:
        """(B, outputs, H/2, W/2) of `Top3` (sparse) or of a tensor (B, S + 1, H, W) (dense); H and W even."""
        if isinstance(semantic, Tensor):
            return super().forward(semantic)
        last = last_wins(semantic.labels, semantic.scores)
        result: Tensor = _LookUp.apply(semantic.labels, last, self.weight)
        return result


def last_wins(labels: Tensor, scores: Tensor) -> Tensor:
    """`scores`, 0 where a later entry of the same pixel has the same label."""
    first, second, third = labels.unbind(1)
    survives = torch.stack([(first != second) & (first != third), second != third, torch.ones_like(first) > 0], 1)
    return scores * survives


class _LookUp(torch.autograd.Function):
    """The sparse convolution; labels have no gradient, scores have none either unless they ask for it."""

    @staticmethod
    def forward(ctx: Any, labels: Tensor, scores: Tensor, weight: Tensor) -> Tensor:
        """Sum the weight's rows: (B, O, H/2, W/2) in channels-last memory."""
        ctx.save_for_backward(labels, scores, weight)
        height, width = labels.shape[2] // _STRIDE, labels.shape[3] // _STRIDE
        # Rows of (channel, row tap, column tap); detached, or `embedding_bag` prepares for a gradient of its own.
        rows = weight.detach().permute(1, 2, 3, 0).reshape(-1, weight.shape[0]).contiguous()
        tap = torch.arange(_TAPS * _TAPS, dtype=torch.int32, device=labels.device)
        tap = tap.repeat_interleave(_KEPT).view(_TAPS, _TAPS * _KEPT)
        result = weight.new_empty(len(labels), height * width, weight.shape[0])
        for i in range(len(labels)):  # one picture at a time: its indices fit the cache
            first_rows = (_padded(labels[i].to(torch.int32) + 1)) * (_TAPS * _TAPS)
            indices = (_windows(first_rows, height, width) + tap).reshape(height * width, -1)
            weights = _windows(_padded(scores[i].to(weight.dtype)), height, width).reshape(height * width, -1)
            result[i] = F.embedding_bag(indices, rows, per_sample_weights=weights, mode="sum")
        return result.view(len(labels), height, width, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        """Gradients of the scores and the weight from that of the result, (B, O, H/2, W/2)."""
        labels, scores, weight = ctx.saved_tensors
        gradient = gradients[0]
        of_scores = _score_gradient(labels, gradient, weight) if ctx.needs_input_grad[1] else None
        of_weight = _weight_gradient(labels, scores, gradient, weight) if ctx.needs_input_grad[2] else None
        return None, of_scores, of_weight


def _padded(entries: Tensor) -> Tensor:
    """Entries (3, H, W) as (H + 6, W + 6, 3), 0 all round."""
    return F.pad(entries, (_PADDING,) * 4).permute(1, 2, 0).contiguous()


def _windows(padded: Tensor, height: int, width: int) -> Tensor:
    """What each output sees of (H + 6, W + 6, 3): a view (height, width, 7, 7 * 3)."""
    row = padded.shape[1] * _KEPT
    strides = (_STRIDE * row, _STRIDE * _KEPT, row, 1)
    return padded.as_strided((height, width, _TAPS, _TAPS * _KEPT), strides)


def _weight_gradient(labels: Tensor, scores: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    """(O, S + 1, 7, 7): for each (label, tap), the sum of score times the gradient of the output it went to."""
    found = weight.new_zeros(_TAPS, _TAPS, weight.shape[1], weight.shape[0])
    for i in range(len(labels)):
        channels, strengths = _padded(labels[i].to(torch.int16) + 1), _padded(scores[i].to(weight.dtype))
        outputs = gradient[i].permute(1, 2, 0).to(weight.dtype)
        # An entry at an even row meets the even row taps alone, and so for odd ones and for columns.
        for row in range(_STRIDE):
            for column in range(_STRIDE):
                part = (slice(row, None, _STRIDE), slice(column, None, _STRIDE))
                _add_phase(found[part], channels[part], strengths[part], outputs)
    return found.permute(3, 2, 0, 1).contiguous()


def _add_phase(found: Tensor, channels: Tensor, strengths: Tensor, outputs: Tensor) -> None:
    """Add to `found` (rows of taps, columns of taps, S + 1, O) what the entries (n, m, 3) of one phase contribute.

    The entry at (r, c) goes to the output (r - a, c - b) through tap (a, b). Sorted by channel once, the same entries
    serve every tap; only where the table of outputs begins is moved.
    """
    taps = max(found.shape[:2])
    height, width = channels.shape[:2]
    line = width + taps - 1
    table = outputs.new_zeros(height + taps, line, outputs.shape[2])
    table[taps - 1 : taps - 1 + outputs.shape[0], taps - 1 : taps - 1 + outputs.shape[1]] = outputs
    table = table.view(-1, outputs.shape[2])

    entries = strengths.reshape(-1).nonzero().squeeze(1)  # a score of 0 adds nothing; third classes often have one
    channel, order = torch.sort(channels.reshape(-1)[entries], stable=True)
    entries = entries[order]
    strength = strengths.reshape(-1)[entries]
    pixel = (entries // _KEPT).to(torch.int32)
    place = pixel // width * line + pixel % width
    bags = _bags(channel, found.shape[2]).to(place.dtype)
    sums = []
    for a in range(found.shape[0]):
        for b in range(found.shape[1]):
            begin = (taps - 1 - a) * line + taps - 1 - b
            shifted = table[begin : begin + height * line]
            sums.append(F.embedding_bag(place, shifted, bags, per_sample_weights=strength, mode="sum"))
    whole = torch.stack(sums).view(*found.shape[:2], len(bags), found.shape[3])
    found.index_add_(2, channel[bags.long()].long(), whole)


def _bags(channel: Tensor, channels: int) -> Tensor:
    """Where to cut sorted channels (N,) so that a bag has one channel and at most `_LONGEST_BAG` entries."""
    known = torch.arange(channels, dtype=channel.dtype, device=channel.device)
    changes = torch.searchsorted(channel, known)
    cuts = torch.cat([changes, torch.arange(0, len(channel), _LONGEST_BAG, device=channel.device)])
    begins: Tensor = torch.unique(cuts[cuts < len(channel)])
    return begins


def _score_gradient(labels: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    """(B, 3, H, W): the dense convolution's gradient, gathered at the labels' channels, a picture at a time."""
    size = (1, weight.shape[1], *labels.shape[2:])
    found = []
    for i in range(len(labels)):
        options = {"stride": _STRIDE, "padding": _PADDING}
        dense = conv2d_input(size, weight, gradient[i : i + 1], **options)  # type: ignore[no-untyped-call]
        found.append(dense.gather(1, labels[i : i + 1].long() + 1))
    return torch.cat(found)
