"""Writes a network as an ONNX graph whose weights stay where they are: in the model's safetensors file.

ONNX lets a tensor live in another file at an offset, and a safetensors file is a header followed by raw tensors. So one
file of weights serves torch, OpenVINO and ONNX Runtime, and they cannot disagree. The weights are float16; the
graph casts each to float32, which the run times do once, when they compile.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from safetensors.torch import load_file, save_file

from models.errors import ModelError
from models.scene_network import SceneNetwork, SceneOutput

OUTPUTS = SceneOutput._fields
_TOLERANCE = 1e-3  # largest difference in a probability that the check lets pass


def save_weights(network: SceneNetwork, path: Path) -> None:
    """Write the network's weights as float16 safetensors; counters that only training needs are left out."""
    state = {
        name: tensor.detach().half().contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    part = path.with_suffix(".part")
    save_file(state, part, metadata={"format": "pt"})
    part.chmod(0o644)  # it is made for its owner alone, but an installed model is everyone's
    part.replace(path)


def load_weights(network: SceneNetwork, path: Path) -> None:
    """Fill the network with a file that `save_weights` wrote."""
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})


def export_graph(
    network: SceneNetwork,
    weights: Path,
    graph: Path,
    size: tuple[int, int],
    pictures: NDArray[np.float32] | None = None,
) -> float:
    """Write `graph` (ONNX, any batch size) for a network whose weights lie in `weights`, and compare it with torch.

    Args:
        network: on the CPU; it is filled from `weights`.
        weights: safetensors file in the folder of `graph`.
        size: height and width of the input.
        pictures: normalised pictures (B, 3, H, W) to compare on; noise unless given.

    Returns:
        The largest difference in a scene's probability.

    Raises:
        ModelError: the graph disagrees with torch.
    """
    if weights.parent.resolve() != graph.parent.resolve():
        raise ValueError("weights and graph must be in one folder: the graph names the weights by file name")
    load_weights(network, weights)
    network.eval()
    # The optimiser would fold batch norms into new weights; it cannot while the weights are inputs.
    model = _simplify(_without_weights(_trace(network, size), set(network.state_dict())))
    _point_to(weights, model)
    part = graph.with_suffix(".part")
    part.write_bytes(model.SerializeToString())
    part.replace(graph)
    return _compare(network, graph, _noise(size) if pictures is None else pictures)


def _trace(network: SceneNetwork, size: tuple[int, int]) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about its own dependencies
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, *size),),
            dynamo=True,
            optimize=False,
            verbose=False,
            input_names=["picture"],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def _without_weights(model: onnx.ModelProto, names: set[str]) -> onnx.ModelProto:
    """Turn the weights into inputs of the graph."""
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in names]
    for tensor in model.graph.initializer:
        if tensor.name in names:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


def _simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxscript import optimizer

    simple: onnx.ModelProto = optimizer.optimize(model)
    del simple.graph.value_info[:]
    del simple.metadata_props[:]
    for node in simple.graph.node:  # the exporter notes source lines and paths of this machine
        node.ClearField("doc_string")
        del node.metadata_props[:]
    for value in (*simple.graph.input, *simple.graph.output, *simple.graph.initializer):
        del value.metadata_props[:]
    del simple.graph.metadata_props[:]
    return simple


def _point_to(weights: Path, model: onnx.ModelProto) -> None:
    """Turn the inputs that are weights into references to the file, each cast to float32."""
    places = tensor_places(weights)
    used = {name for node in model.graph.node for name in node.input}
    casts = []
    for value in [v for v in model.graph.input if v.name in places]:
        model.graph.input.remove(value)
        if value.name in used:
            stored = f"{value.name}.half"
            model.graph.initializer.append(_reference(stored, weights.name, places[value.name]))
            casts.append(helper.make_node("Cast", [stored], [value.name], to=TensorProto.FLOAT, name=f"{stored}.cast"))
    others = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + others)


def tensor_places(path: Path) -> dict[str, tuple[int, int, list[int]]]:
    """Offset in the file, length in bytes and shape of each tensor of a float16 safetensors file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    if strange := [name for name, entry in header.items() if entry["dtype"] != "F16"]:
        raise ModelError(f"{path}: {strange[0]} is not float16")
    data = 8 + length
    places = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        places[name] = (data + start, end - start, entry["shape"])
    return places


def _reference(name: str, location: str, place: tuple[int, int, list[int]]) -> TensorProto:
    offset, length, shape = place
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _compare(network: SceneNetwork, graph: Path, pictures: NDArray[np.float32]) -> float:
    """Run torch and OpenVINO on the same pictures; the largest difference in a probability."""
    from models.openvino_library import ov

    with torch.no_grad():
        wanted = network(torch.from_numpy(pictures)).logits.softmax(1).numpy()
    compiled = ov.Core().compile_model(str(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    logits = torch.from_numpy(compiled({"picture": pictures})[compiled.output("logits")].copy())
    difference = float(np.abs(logits.softmax(1).numpy() - wanted).max())
    if not difference <= _TOLERANCE:
        raise ModelError(f"{graph} disagrees with torch by {difference:.2g} in a probability; nothing was released")
    return difference


def _noise(size: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((3, 3, *size)).astype(np.float32)
