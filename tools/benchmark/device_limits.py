"""What a device could do at best: its measured rates, and the work that a network gives it.

The roofline of Williams, Waterman and Patterson (CACM 52(4), 2009): work takes at least as long as its arithmetic at
the device's arithmetic rate, and as its bytes at the device's memory bandwidth. Both rates are measured, not taken from
a data sheet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
_REPEATS = 10


@dataclass(frozen=True, slots=True)
class Work:
    """What networks compute and move.

    Attributes:
        flops: multiplications and additions of convolutions and matrix products.
        bytes: inputs and outputs of every operation. Kernels that do several at once move less.
    """

    flops: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device does a second.

    Attributes:
        flops: of a large matrix product, in `numbers`.
        bytes: read and written by a large copy.
        numbers: `f32`, `tf32`, `bf16` or `f16`.
    """

    flops: float
    bytes: float
    numbers: str

    def limit_s(self, work: Work) -> tuple[float, str]:
        """Seconds that `work` takes at least, and what binds it: `arithmetic` or `memory`."""
        times = {"arithmetic": work.flops / self.flops, "memory": work.bytes / self.bytes}
        bound = max(times, key=lambda name: times[name])
        return times[bound], bound


@torch.inference_mode()
def count_work(run: Callable[[], object]) -> Work:
    """The work of what `run` does on torch, one operation after the other; a recorded CUDA graph hides its own."""
    with _Traffic() as traffic, FlopCounterMode(display=False) as counter:
        run()
    return Work(counter.get_total_flops(), traffic.bytes)


@torch.inference_mode()
def measure_rates(device: str, precision: str, side: int, copied_bytes: int) -> Rates:
    """The rates of a device.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.
        precision: of the matrix product: `f32`, `bf16` or `f16`.
        side: of its square matrices; 8192 keeps a large GPU busy.
        copied_bytes: of the copy; many times the device's caches.
    """
    one, other = (torch.randn(side, side, device=device, dtype=_DTYPES[precision]) for _ in range(2))
    with _as_convolutions_compute():
        product_s = _seconds(lambda: one @ other, device)
    source = torch.zeros(copied_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_s = _seconds(lambda: target.copy_(source), device)
    return Rates(2 * side**3 / product_s, 2 * copied_bytes / copy_s, _numbers(device, precision))


class _Traffic(TorchDispatchMode):
    """Counts the bytes of what operations read and write; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See `TorchDispatchMode`."""
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [leaf for leaf in tree_leaves((args, kwargs, found)) if isinstance(leaf, Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return found


@contextmanager
def _as_convolutions_compute() -> Iterator[None]:
    """Let float32 products round as float32 convolutions may: cuDNN's take TensorFloat-32 unless told otherwise."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _numbers(device: str, precision: str) -> str:
    if precision != "f32" or not device.startswith("cuda") or not torch.backends.cudnn.allow_tf32:
        return precision
    return "tf32" if torch.cuda.get_device_capability(device) >= (8, 0) else "f32"


def _seconds(work: Callable[[], object], device: str) -> float:
    """The shortest of several times, once warm."""
    times = []
    for _ in range(1 + _REPEATS):
        _wait(device)
        began_s = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - began_s)
    return min(times[1:])


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
