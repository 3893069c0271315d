"""A function on a CUDA device, recorded once for each shape of its input and then started as a whole.

Starting the some hundred kernels of a small network one by one takes the CPU longer than the device needs for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.device_frames import DeviceLane

_WARM_UPS = 3  # libraries choose their algorithms on the first calls, which must not be recorded

_recording = threading.Lock()  # of one graph at a time in the process


@dataclass(frozen=True)
class _Recording:
    """A recorded run, with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    given: Tensor
    found: tuple[Tensor, ...]


class CudaGraphs:
    """Runs `function` on tensors on a device. Belongs to one thread, which calls it in its lane's stream.

    Args:
        function: one tensor on the device to several; it decides nothing by values.
        lane: that thread's.
    """

    def __init__(self, function: Callable[[Tensor], tuple[Tensor, ...]], lane: DeviceLane) -> None:
        self._function = function
        self._lane = lane
        self._recordings: dict[torch.Size, _Recording] = {}

    def __call__(self, given: Tensor) -> tuple[Tensor, ...]:
        """The function's results, on the device; the next call for this shape writes over them."""
        if given.shape not in self._recordings:
            self._recordings[given.shape] = self._record(given)
        recording = self._recordings[given.shape]
        recording.given.copy_(given)
        recording.graph.replay()
        return recording.found

    def _record(self, given: Tensor) -> _Recording:
        with _recording:
            own = given.clone()
            for _ in range(_WARM_UPS):
                self._function(own)
            stream = torch.cuda.current_stream(self._lane.device)
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on using the device meanwhile.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                found = self._function(own)
        return _Recording(graph, own, found)
