"""Backend `onnxruntime`: the exported graph on a CPU, or on an NVIDIA GPU through CUDA or TensorRT.

Device `auto` is CUDA where the installed ONNX Runtime has it, else the CPU; `tensorrt` is asked for by name, since its
first start takes minutes.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.backends.base import Array, Backend, BackendParams, NetworkOutput, Pictures, precision_for
from models.cores import usable_cores
from models.errors import ModelError
from models.onnxruntime_library import onnxruntime
from models.package import ModelPackage
from models.preprocess import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn

TRACES = True

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_KEPT_SHAPES = 4  # graphs of one module, for inputs of different shapes
_QUIET = 3  # errors only


class Params(BackendParams):
    """Parameters of `onnxruntime`. device: `auto`, `cpu`, `cuda`, `cuda:N`, `tensorrt` or `tensorrt:N`."""


class OnnxRuntimeBackend(Backend):
    """A session, normalisation included. Sessions may be run by several threads at once, so lanes share it."""

    name = "onnxruntime"

    def __init__(self, session: onnxruntime.InferenceSession, device: str, precision: str) -> None:
        self.device, self.precision = device, precision
        self._session = session
        self._names = [output.name for output in session.get_outputs()]

    def infer(self, pictures: Pictures) -> NetworkOutput:
        """See `Backend.infer`."""
        found = dict(zip(self._names, self._session.run(None, {"picture": pictures}), strict=True))
        return NetworkOutput(
            logits=found["logits"],
            class_map=found["class_map"].astype(np.uint8, copy=False),
            class_scores=found["class_scores"],
            gate=found["gate"],
            activation=found.get("activation"),
            unknown=found.get("unknown"),
        )

    def lane(self) -> OnnxRuntimeBackend:
        """See `Backend.lane`."""
        return OnnxRuntimeBackend(self._session, self.device, self.precision)


class OnnxRuntimeModule:
    """A torch module, exported anew for each shape of its inputs; see `models.backends.base.CompiledModule`.

    An export takes seconds, and a graph that takes any shape cannot be had of every module.
    """

    def __init__(self, module: nn.Module, params: Params, device: str, precision: str) -> None:
        self.device = device
        self._module = module
        self._params, self._precision = params, precision
        self._sessions: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()

    def __call__(self, *inputs: Array) -> list[Array]:
        """See `CompiledModule`."""
        session = self._session(inputs)
        names = [port.name for port in session.get_inputs()]
        found: list[Array] = session.run(None, dict(zip(names, map(np.ascontiguousarray, inputs), strict=True)))
        return found

    def lane(self) -> OnnxRuntimeModule:
        """See `CompiledModule.lane`; what is exported already is shared."""
        lane = OnnxRuntimeModule(self._module, self._params, self.device, self._precision)
        lane._sessions.update(self._sessions)
        return lane

    def _session(self, inputs: Sequence[Array]) -> Any:
        shapes = tuple(array.shape for array in inputs)
        if shapes not in self._sessions:
            graph = _traced(self._module, inputs)
            self._sessions[shapes] = _session(graph, None, self.device, self._precision, self._params)
            if len(self._sessions) > _KEPT_SHAPES:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(shapes)
        return self._sessions[shapes]


def build(params: Params, *, package: ModelPackage) -> OnnxRuntimeBackend:
    """Load the model's graph.

    Raises:
        ModelError: the model has no graph, or this ONNX Runtime has no such device or precision.
    """
    device = _device(params.device)
    precision = _precision(device, params, package.manifest.precisions)
    path = package.path("graph")
    folder = package.path("weights").parent  # the graph points into the file of weights: it is checked as well
    graph = with_uint8_input(onnx.load(path, load_external_data=False), package.preprocess)
    session = _session(graph.SerializeToString(), folder, device, precision, params)
    return OnnxRuntimeBackend(session, device, precision)


def compile_module(
    params: Params,
    module: nn.Module,
    example_inputs: Sequence[Tensor],  # noqa: ARG001
) -> OnnxRuntimeModule:
    """Make a module ready to run; nothing that decides by its inputs' values survives its export.

    Args:
        params: device, threads, precision and lanes.
        module: takes tensors, returns a tensor or a tuple of tensors.
        example_inputs: what other backends trace it with.

    Raises:
        ModelError: there is no such device or precision.
    """
    device = _device(params.device)
    return OnnxRuntimeModule(module.eval(), params, device, _precision(device, params))


def with_uint8_input(graph: onnx.ModelProto, preprocess: Preprocess) -> onnx.ModelProto:
    """The graph with an input (B, H, W, 3) uint8 in place of (B, 3, H, W) normalised float32, both called `picture`.

    The input keeps its name, and what it is normalised to gets another one.
    """
    (place,) = [i for i, port in enumerate(graph.graph.input) if port.name == "picture"]
    batch = graph.graph.input[place].type.tensor_type.shape.dim[0]
    shape = [batch.dim_param or batch.dim_value, preprocess.height, preprocess.width, 3]
    graph.graph.input[place].CopyFrom(helper.make_tensor_value_info("picture", TensorProto.UINT8, shape))
    for node in graph.graph.node:
        node.input[:] = ["picture.normal" if name == "picture" else name for name in node.input]
    scale, offset = preprocess.scale_and_offset()
    graph.graph.initializer.append(numpy_helper.from_array(scale, "picture.scale"))
    graph.graph.initializer.append(numpy_helper.from_array(offset, "picture.offset"))
    steps = [
        helper.make_node("Cast", ["picture"], ["picture.float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["picture.float", "picture.scale"], ["picture.scaled"]),
        helper.make_node("Add", ["picture.scaled", "picture.offset"], ["picture.shifted"]),
        helper.make_node("Transpose", ["picture.shifted"], ["picture.normal"], perm=[0, 3, 1, 2]),
    ]
    others = list(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend(steps + others)
    return graph


def _session(
    graph: bytes, folder: Path | None, device: str, precision: str, params: BackendParams
) -> onnxruntime.InferenceSession:
    """A session of a graph, whose weights may lie in files of `folder`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _QUIET
    # The threads of the lanes work as well, each on its own pictures, beside those that all of them share.
    options.intra_op_num_threads = max(1, (params.threads or usable_cores()) - params.lanes + 1)
    # Threads that wait for the next picture in a loop would take the cores from decoding, and from other libraries.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    kind, _, number = device.partition(":")
    choices: dict[str, str] = {"device_id": number or "0"} if kind != "cpu" else {}
    if kind == "cuda":
        choices["use_tf32"] = "0"
    if kind == "tensorrt":
        choices["trt_fp16_enable"] = str(int(precision == "f16"))
    provider = _PROVIDERS[kind]
    session = onnxruntime.InferenceSession(graph, options, providers=[(provider, choices)])
    if provider not in session.get_providers():  # it falls back to the CPU with no more than a word in its log
        raise ModelError(
            f"onnxruntime cannot use {device!r}: its libraries are missing or do not fit; use --device cpu, or install "
            "what onnxruntime-gpu asks for"
        )
    return session


def _traced(module: nn.Module, inputs: Sequence[Array]) -> bytes:
    """The module as an ONNX graph for inputs of exactly these shapes."""
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own, about its own dependencies
        examples = tuple(torch.from_numpy(np.zeros_like(array)) for array in inputs)
        program = torch.onnx.export(module, examples, dynamo=True, verbose=False)
    assert program is not None
    file = BytesIO()
    onnx.save(program.model_proto, file)
    return file.getvalue()


def known_devices() -> list[str]:
    """The devices that the installed ONNX Runtime was built for."""
    available = onnxruntime.get_available_providers()
    return [kind for kind, provider in _PROVIDERS.items() if provider in available]


def _device(wanted: str) -> str:
    known = known_devices()
    if wanted == "auto":
        return "cuda" if "cuda" in known else "cpu"
    kind, _, number = wanted.partition(":")
    if kind not in known or (number and not number.isdecimal()):
        raise ModelError(f"onnxruntime has no device {wanted!r} here; it has: {', '.join(known)}")
    return wanted


def _precision(device: str, params: Params, held: Sequence[str] = ("f32",)) -> str:
    known = ("f32", "f16") if device.startswith("tensorrt") else ("f32",)
    return precision_for("onnxruntime", device, params.precision, known, held)
