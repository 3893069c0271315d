"""Backend `openvino`: the exported graph on a CPU (or another device of OpenVINO), without torch.

Torch is needed only to trace a module that has no exported graph.
"""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.backends.base import Array, Backend, BackendParams, NetworkOutput
from models.errors import ModelError
from models.openvino_library import ov
from models.package import ModelPackage
from models.prediction import FloatArray

if TYPE_CHECKING:
    from torch import Tensor, nn

TRACES = True

_KEPT_SHAPES = 4  # compiled graphs of one module, for inputs of different shapes


class Params(BackendParams):
    """Parameters of `openvino`."""


class OpenVinoBackend(Backend):
    """A compiled graph with one inference request."""

    name = "openvino"

    def __init__(self, package: ModelPackage, params: Params) -> None:
        core = ov.Core()
        self.device = _device(core, params.device)
        package.path("weights")  # the graph points into this file: check it before it is mapped
        graph = core.read_model(str(package.path("graph")))
        self._outputs = {name for output in graph.outputs for name in output.names}
        self._compiled = core.compile_model(graph, self.device, _settings(self.device, params))
        self._request = self._compiled.create_infer_request()

    def lane(self) -> OpenVinoBackend:
        """See `Backend.lane`."""
        other = copy.copy(self)
        other._request = self._compiled.create_infer_request()
        return other

    def infer(self, pictures: FloatArray) -> NetworkOutput:
        """See `Backend.infer`."""
        self._request.infer({"picture": pictures})

        def output(name: str) -> np.ndarray:
            # A copy: the request's own buffers are overwritten by the next picture.
            return np.array(self._request.get_tensor(name).data)

        return NetworkOutput(
            logits=output("logits"),
            class_map=output("class_map").astype(np.uint8, copy=False),
            class_scores=output("class_scores"),
            gate=output("gate"),
            activation=output("activation") if "activation" in self._outputs else None,
            unknown=output("unknown") if "unknown" in self._outputs else None,
        )


class OpenVinoModule:
    """A traced torch module, compiled anew for each shape of its inputs; see `models.backends.base.CompiledModule`.

    A graph of fixed shape runs faster than one that takes any, and a camera's frames have one shape.
    """

    def __init__(self, model: ov.Model, device: str, settings: dict[str, object]) -> None:
        self.device = device
        self._model = model
        self._settings = settings
        self._core = ov.Core()
        self._requests: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()

    def __call__(self, *inputs: Array) -> list[Array]:
        """See `CompiledModule`."""
        request = self._request(tuple(array.shape for array in inputs))
        request.infer([np.ascontiguousarray(array) for array in inputs])
        return [np.array(tensor.data) for tensor in request.output_tensors]

    def _request(self, shapes: tuple[tuple[int, ...], ...]) -> Any:
        if shapes not in self._requests:
            model = self._model.clone()
            model.reshape({port: list(shape) for port, shape in zip(model.inputs, shapes, strict=True)})
            compiled = self._core.compile_model(model, self.device, self._settings)
            self._requests[shapes] = compiled.create_infer_request()
            if len(self._requests) > _KEPT_SHAPES:
                self._requests.popitem(last=False)
        self._requests.move_to_end(shapes)
        return self._requests[shapes]


def build(params: Params, *, package: ModelPackage) -> OpenVinoBackend:
    """Compile the model's graph.

    Raises:
        ModelError: the model has no graph, or OpenVINO has no such device.
    """
    return OpenVinoBackend(package, params)


def compile_module(params: Params, module: nn.Module, example_inputs: Sequence[Tensor]) -> OpenVinoModule:
    """Trace a module and make it ready to run; nothing that decides by its inputs' values survives the tracing.

    Args:
        params: device and threads.
        module: takes tensors, returns a tensor or a tuple of tensors.
        example_inputs: tensors on the CPU that it is traced with.

    Raises:
        ModelError: OpenVINO has no such device.
    """
    import torch

    device = _device(ov.Core(), params.device)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, about each check of a shape, and about its own retirement
        model = ov.convert_model(module.eval(), example_input=tuple(example_inputs))
    return OpenVinoModule(model, device, _settings(device, params))


def _settings(device: str, params: Params) -> dict[str, object]:
    settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
        if params.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = params.threads
    return settings


def _device(core: ov.Core, wanted: str) -> str:
    known = list(core.available_devices)
    device = "CPU" if wanted in ("auto", "cpu") else wanted
    if device != "AUTO" and device.split(".")[0] not in {name.split(".")[0] for name in known}:
        raise ModelError(f"openvino has no device {wanted!r} here; it has: {', '.join(known)}")
    return device
