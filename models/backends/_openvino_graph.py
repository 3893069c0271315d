"""A graph that OpenVINO compiles anew for each shape of its inputs, and requests to run it with.

A graph of fixed shape runs faster than one that takes any, and a camera's frames have one shape.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from models.backends.base import Array, BackendParams, precision_for
from models.errors import ModelError
from models.openvino_library import cpu_has_bfloat16, ov

Shapes = tuple[tuple[int, ...], ...]

_KEPT_SHAPES = 4  # of one graph


class CompiledShapes:
    """The compiled graphs, shared by all lanes; any thread may ask for one.

    Args:
        model: with inputs of any size.
        device: of OpenVINO.
        settings: to compile with.
    """

    def __init__(self, model: ov.Model, device: str, settings: dict[str, object]) -> None:
        self.device = device
        self.outputs = {name for output in model.outputs for name in output.names}
        self._model = model
        self._settings = settings
        self._core = ov.Core()
        self._compiled: OrderedDict[Shapes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, shapes: Shapes) -> Any:
        """The graph for inputs of these shapes."""
        with self._lock:
            if shapes not in self._compiled:
                model = self._model.clone()
                model.reshape({port: list(shape) for port, shape in zip(model.inputs, shapes, strict=True)})
                self._compiled[shapes] = self._core.compile_model(model, self.device, self._settings)
                if len(self._compiled) > _KEPT_SHAPES:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(shapes)
            return self._compiled[shapes]


class Requests:
    """One lane's inference requests, one for each shape; they belong to one thread."""

    def __init__(self, compiled: CompiledShapes) -> None:
        self.compiled = compiled
        self._requests: OrderedDict[Shapes, Any] = OrderedDict()

    def infer(self, arrays: Sequence[Array]) -> Any:
        """The request, after it has run on contiguous arrays; the next run on such shapes overwrites its outputs."""
        shapes = tuple(array.shape for array in arrays)
        if shapes not in self._requests:
            self._requests[shapes] = self.compiled.get(shapes).create_infer_request()
            if len(self._requests) > _KEPT_SHAPES:
                self._requests.popitem(last=False)
        self._requests.move_to_end(shapes)
        request = self._requests[shapes]
        request.infer(list(arrays))
        return request

    def lane(self) -> Requests:
        """Requests of another thread for the same graphs."""
        return Requests(self.compiled)


def find_device(wanted: str) -> str:
    """OpenVINO's name of the device that is asked for.

    Raises:
        ModelError: there is none.
    """
    known = list(ov.Core().available_devices)
    device = "CPU" if wanted in ("auto", "cpu") else wanted
    if device != "AUTO" and device.split(".")[0] not in {name.split(".")[0] for name in known}:
        raise ModelError(f"openvino has no device {wanted!r} here; it has: {', '.join(known)}")
    return device


def precision_on(device: str, params: BackendParams, held: Sequence[str] = ("f32",)) -> str:
    """The precision that the parameters mean on a device; `held` as in `precision_for`.

    Raises:
        ModelError: the device does not have it.
    """
    known: tuple[str, ...] = ("f32", "f16")
    if device == "CPU":
        # Without the instructions OpenVINO would take bf16 for f32 in silence.
        known = ("f32", "bf16") if cpu_has_bfloat16() else ("f32",)
    return precision_for("openvino", device, params.precision, known, held)


def compile_settings(device: str, precision: str, params: BackendParams) -> dict[str, object]:
    """What to compile with. On a CPU each lane gets its stream, and the streams share out the threads.

    Measured with two lanes on two cores: two streams of a thread take half the time of one stream of two threads.
    """
    settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU" or device.startswith("GPU"):
        settings["INFERENCE_PRECISION_HINT"] = precision
    if device == "CPU":
        if params.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = params.threads
        if params.lanes > 1:
            settings["NUM_STREAMS"] = params.lanes
    return settings
