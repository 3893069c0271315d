"""A function on a CUDA device, recorded once for each shape of its input and then started as a whole.

Starting the some hundred kernels of a small network one by one takes the CPU longer than the device needs for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_WARM_UPS = 3  # libraries choose their algorithms on the first calls, which must not be recorded

_recording = threading.Lock()  # of one graph at a time in the process


@dataclass(frozen=True)
class _Recording:
    """A recorded run, with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    pinned: Tensor
    given: Tensor
    found: tuple[Tensor, ...]


class CudaGraphs:
    """Runs `function` on tensors from the host; belongs to one thread, with a stream of its own.

    Args:
        function: one tensor on the device to several; it decides nothing by values.
        device: `cuda` or `cuda:N`.
    """

    def __init__(self, function: Callable[[Tensor], tuple[Tensor, ...]], device: str) -> None:
        self._function = function
        self._device = torch.device(device)
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._recordings: dict[torch.Size, _Recording] = {}

    def __call__(self, given: Tensor) -> tuple[Tensor, ...]:
        """The function's results on the host, the caller's own."""
        if given.shape not in self._recordings:
            self._recordings[given.shape] = self._record(given)
        recording = self._recordings[given.shape]
        recording.pinned.copy_(given)
        with torch.cuda.stream(self._stream):
            recording.given.copy_(recording.pinned, non_blocking=True)
            recording.graph.replay()
            return tuple(tensor.cpu() for tensor in recording.found)  # waits for the stream

    def _record(self, given: Tensor) -> _Recording:
        with _recording, torch.cuda.stream(self._stream):
            on_device = given.to(self._device)
            for _ in range(_WARM_UPS):
                self._function(on_device)
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on using the device meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                found = self._function(on_device)
        return _Recording(graph, given.clone().pin_memory(), on_device, found)
