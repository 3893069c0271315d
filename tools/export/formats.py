"""Writes a module as an ONNX or an OpenVINO file, weights and all, and runs such files for a check."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from models.backends.base import Array
from models.backends.openvino import traced
from models.openvino_library import ov
from streamer.errors import OutputError
from tools.export.networks import Exportable

__all__ = ["Runner", "onnx_runners", "openvino_runner", "to_openvino", "write_onnx", "write_openvino"]

Runner = Callable[[Sequence[Array]], dict[str, Array]]
"""Outputs by name, for inputs in their order."""


def write_onnx(model: Exportable, examples: Sequence[Array], path: Path, batch: int | None) -> None:
    """Write the module to `path`; `batch` None takes any number of pictures.

    Args:
        model: the module and the names of its inputs and outputs.
        examples: inputs of two pictures, or of `batch`.
        path: of the file.
        batch: pictures that the file takes at a time.
    """
    import onnx

    from tools.export.packaged import simplify

    any_batch = torch.export.Dim("batch", min=1)
    # One entry for each parameter of `forward`, which has one: `*inputs`.
    dynamic = None if batch is not None else (tuple({0: any_batch} for _ in examples),)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own, about its own dependencies
        program = torch.onnx.export(
            model.module,
            tuple(torch.from_numpy(array) for array in examples),
            dynamo=True,
            optimize=False,
            verbose=False,
            input_names=list(model.inputs),
            output_names=list(model.outputs),
            dynamic_shapes=dynamic,
        )
    assert program is not None
    onnx.save(simplify(program.model_proto), path)


def to_openvino(model: Exportable, examples: Sequence[Array], batch: int | None) -> ov.Model:
    """The module as a model of OpenVINO, float32."""
    graph = traced(model.module, [torch.from_numpy(array) for array in examples])
    for names, ports in ((model.inputs, graph.inputs), (model.outputs, graph.outputs)):
        for name, port in zip(names, ports, strict=True):
            port.get_tensor().set_names({name})
    first = -1 if batch is None else batch
    graph.reshape({port: [first, *array.shape[1:]] for port, array in zip(graph.inputs, examples, strict=True)})
    return graph


def write_openvino(graph: ov.Model, path: Path) -> None:
    """Write `path` (.xml) and the file of weights beside it (.bin).

    Raises:
        OutputError: they cannot be written.
    """
    try:
        ov.save_model(graph, str(path), compress_to_fp16=False)
    except RuntimeError as error:  # of a full disk it says no more than "iostream error"
        raise OutputError(f"cannot write {path.name}: the disk is full, or takes no file of that size") from error


def openvino_runner(path: Path) -> Runner:
    """Runs an OpenVINO or an ONNX file on OpenVINO, on the CPU in float32."""
    compiled = ov.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    names = [port.get_any_name() for port in compiled.outputs]

    def run(arrays: Sequence[Array]) -> dict[str, Array]:
        request.infer(list(arrays))
        return {name: np.array(tensor.data) for name, tensor in zip(names, request.output_tensors, strict=True)}

    return run


def onnx_runners(path: Path) -> dict[str, Runner]:
    """What runs an ONNX file here: OpenVINO, and ONNX Runtime where it is installed."""
    runners = {"openvino": openvino_runner(path)}
    try:
        from models.onnxruntime_library import onnxruntime
    except ImportError:
        return runners
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = [port.name for port in session.get_inputs()]
    outputs = [port.name for port in session.get_outputs()]

    def run(arrays: Sequence[Array]) -> dict[str, Array]:
        return dict(zip(outputs, session.run(None, dict(zip(inputs, arrays, strict=True))), strict=True))

    return runners | {"onnxruntime": run}
