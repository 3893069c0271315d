"""Backend `openvino`: the exported graph on a CPU (or another device of OpenVINO), without torch.

Torch is needed only to trace a module that has no exported graph. A file in 8 bits runs here as well (`load_module`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.backends._openvino_graph import CompiledShapes, Requests, compile_settings, find_device, precision_on
from models.backends.base import Array, Backend, BackendParams, NetworkOutput, Pictures
from models.openvino_library import ov
from models.package import ModelPackage
from models.preprocess import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn

TRACES = True


class Params(BackendParams):
    """Parameters of `openvino`."""


class OpenVinoBackend(Backend):
    """A compiled graph, normalisation included, with inference requests of its own."""

    name = "openvino"

    def __init__(self, requests: Requests, precision: str) -> None:
        self.device = requests.compiled.device
        self.precision = precision
        self._requests = requests

    def infer(self, pictures: Pictures) -> NetworkOutput:
        """See `Backend.infer`."""
        request = self._requests.infer([np.ascontiguousarray(pictures)])
        names = self._requests.compiled.outputs

        def output(name: str) -> np.ndarray:
            # A copy: the request's own buffers are overwritten by the next picture.
            return np.array(request.get_tensor(name).data)

        return NetworkOutput(
            logits=output("logits"),
            class_map=output("class_map").astype(np.uint8, copy=False),
            class_scores=output("class_scores"),
            gate=output("gate"),
            activation=output("activation") if "activation" in names else None,
            unknown=output("unknown") if "unknown" in names else None,
        )

    def lane(self) -> OpenVinoBackend:
        """See `Backend.lane`."""
        return OpenVinoBackend(self._requests.lane(), self.precision)


class OpenVinoModule:
    """A traced torch module, compiled anew for each shape of its inputs; see `models.backends.base.CompiledModule`."""

    def __init__(self, requests: Requests) -> None:
        self.device = requests.compiled.device
        self._requests = requests

    def __call__(self, *inputs: Array) -> list[Array]:
        """See `CompiledModule`."""
        request = self._requests.infer([np.ascontiguousarray(array) for array in inputs])
        return [np.array(tensor.data) for tensor in request.output_tensors]

    def lane(self) -> OpenVinoModule:
        """See `CompiledModule.lane`."""
        return OpenVinoModule(self._requests.lane())


def build(params: Params, *, package: ModelPackage) -> OpenVinoBackend:
    """Compile the model's graph for one picture at a time; other numbers of them are compiled when they come.

    Raises:
        ModelError: the model has no graph, or OpenVINO has no such device or precision.
    """
    device = find_device(params.device)
    precision = precision_on(device, params, package.manifest.precisions)
    package.path("weights")  # the graph points into this file: check it before it is mapped
    graph = with_uint8_input(ov.Core().read_model(str(package.path("graph"))), package.preprocess)
    compiled = CompiledShapes(graph, device, compile_settings(device, precision, params))
    compiled.get(((1, package.preprocess.height, package.preprocess.width, 3),))
    return OpenVinoBackend(Requests(compiled), precision)


def compile_module(params: Params, module: nn.Module, example_inputs: Sequence[Tensor]) -> OpenVinoModule:
    """Trace a module and make it ready to run; nothing that decides by its inputs' values survives the tracing.

    Args:
        params: device, threads, precision and lanes.
        module: takes tensors, returns a tensor or a tuple of tensors.
        example_inputs: tensors on the CPU that it is traced with.

    Raises:
        ModelError: OpenVINO has no such device or precision.
    """
    device = find_device(params.device)
    precision = precision_on(device, params)
    model = traced(module, example_inputs)
    return OpenVinoModule(Requests(CompiledShapes(model, device, compile_settings(device, precision, params))))


def load_module(params: Params, path: Path) -> OpenVinoModule:
    """Make a module that was written in 8 bits ready to run; what the file does not quantise computes in float32.

    Args:
        params: device, threads and lanes; the precision is the file's.
        path: an OpenVINO file (.xml), its weights (.bin) beside it.

    Raises:
        ModelError: OpenVINO has no such device.
    """
    device = find_device(params.device)
    model = ov.Core().read_model(str(path))
    return OpenVinoModule(Requests(CompiledShapes(model, device, compile_settings(device, "f32", params))))


def traced(module: nn.Module, example_inputs: Sequence[Tensor]) -> ov.Model:
    """The module as a model of OpenVINO, float32; see `compile_module`."""
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, about each check of a shape, and about its own retirement
        return ov.convert_model(module.eval(), example_input=tuple(example_inputs))


def with_uint8_input(graph: ov.Model, preprocess: Preprocess) -> ov.Model:
    """The graph with an input (B, H, W, 3) uint8 in place of (B, 3, H, W) normalised float32, both called `picture`."""
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(graph)
    picture = steps.input("picture")
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    picture.model().set_layout(ov.Layout("NCHW"))
    picture.preprocess().convert_element_type(ov.Type.f32).mean([255 * mean for mean in preprocess.mean]).scale(
        [255 * std for std in preprocess.std]
    )
    return steps.build()
