"""Frames on a torch device: they go up once, as bytes, and are resized and normalised there.

Each function says of which one on the host it is the twin. All of it runs on any device, `cpu` included, which is
where tests hold it against those twins.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.preprocess import checked_size

__all__ = ["DeviceLane", "as_picture", "by_size", "normalised", "resized", "squashed"]

Picture = NDArray[np.uint8]

_MOST_PIXELS = 7680 * 4320  # of a frame that goes up as it is; in float32 one of these is 400 MB
_SHRINK = 16  # at once; the filter of a much larger step does not fit a CUDA kernel's shared memory


class DeviceLane:
    """What one thread needs to use a device beside others: a stream of its own, and pinned memory to send from.

    Work belongs inside `with lane.stream():`. Whoever works in it fetches a result before he leaves, which waits for
    the stream; so nothing that a lane hands out is still being written.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._stream: torch.cuda.Stream | None = None
        self._sent: torch.cuda.Event | None = None
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # weights may still be on their way, in another stream
            self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            self._sent = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._buffer = torch.empty(0, dtype=torch.uint8)

    def stream(self) -> AbstractContextManager[object]:
        """Makes the lane's stream the current one; on a CPU there is none."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def upload(self, pictures: Sequence[Picture]) -> Tensor:
        """(B, H, W, 3) uint8 on the device, of B pictures of one size, in one transfer."""
        shape = (len(pictures), *pictures[0].shape)
        count = int(np.prod(shape))
        if self._sent is not None:
            self._sent.synchronize()  # or the last frames might still be read from the buffer
        if count > self._buffer.numel():
            self._buffer = torch.empty(count, dtype=torch.uint8, pin_memory=self._stream is not None)
        waiting = self._buffer[:count].view(shape)
        for slot, picture in zip(waiting.numpy(), pictures, strict=True):
            slot[...] = picture
        frames = torch.empty(shape, dtype=torch.uint8, device=self.device)
        frames.copy_(waiting, non_blocking=True)
        if self._sent is not None:
            self._sent.record(self._stream)
        return frames


def as_picture(picture: Picture) -> Picture:
    """A picture that may go up: one larger than 8K is halved first, as often as need be.

    Raises:
        ValueError: no H×W×3 uint8 array, or an empty one.
    """
    checked_size(picture)
    while picture.shape[0] * picture.shape[1] > _MOST_PIXELS:
        height, width = (max(1, side // 2) for side in picture.shape[:2])
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return picture


def by_size(pictures: Sequence[Picture]) -> list[list[int]]:
    """The numbers of the pictures of each size: those that can go together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, picture in enumerate(pictures):
        groups.setdefault(picture.shape, []).append(number)
    return list(groups.values())


def resized(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames (B, H, W, 3) uint8 at `size` = (h, w): (B, 3, h, w) float32, whole grey levels 0..255.

    The twin of Pillow's BILINEAR, by which the segmenters and scene networks of the reference see pictures: a triangle
    as wide as the step, so that no pixel is passed over. It differs by the rounding between Pillow's two passes.
    """
    x = frames.permute(0, 3, 1, 2).float()
    height, width = size
    while x.shape[2] > _SHRINK * height or x.shape[3] > _SHRINK * width:
        x = _triangle(x, (max(4 * height, x.shape[2] // _SHRINK), max(4 * width, x.shape[3] // _SHRINK)))
    return (x if x.shape[2:] == size else _triangle(x, size)).round()


def squashed(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames (B, H, W, 3) uint8 at `size` = (h, w), whatever their aspect: (B, h, w, 3) uint8.

    The twin of `models.preprocess.squash`: each pixel the mean of those it stands for. The triangle of `resized` would
    not do: of 102 real pictures it moved probabilities of `scene18` by up to 0.11, this by 0.015 at most.
    """
    x = frames.permute(0, 3, 1, 2).float()
    while x.shape[2] >= 2 * size[0] and x.shape[3] >= 2 * size[1]:
        x = (F.avg_pool2d(x, 2) + 0.5).floor()  # as the host rounds
    if x.shape[2] >= size[0] and x.shape[3] >= size[1]:
        rows, columns = (_shares(whole, part, x.device) for whole, part in zip(x.shape[2:], size, strict=True))
        with torch.autocast(x.device.type, enabled=False):  # grey levels need their eight bits
            x = rows @ (x @ columns.T)
    else:
        x = F.interpolate(x, size, mode="bilinear", align_corners=False)
    return x.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def normalised(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Grey levels (B, 3, h, w) scaled to 0..1, minus `mean`, over `std`, per channel (R, G, B)."""
    # Plain numbers, not a tensor of them: that would have to go up in each call, and the device be waited for.
    channels = [level * (1 / (255 * s)) - m / s for level, m, s in zip(x.unbind(1), mean, std, strict=True)]
    return torch.stack(channels, 1)


def _triangle(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def _shares(whole: int, part: int, device: torch.device) -> Tensor:
    """(part, whole) float32: how much of each of `part` equal pieces of a line every one of its `whole` pixels is."""
    edges = torch.arange(part + 1, dtype=torch.float64, device=device) * (whole / part)
    pixels = torch.arange(whole, dtype=torch.float64, device=device)
    covered = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return (covered.clamp(min=0) * (part / whole)).float()
