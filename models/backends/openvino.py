"""Backend `openvino`: the exported graph on a CPU (or another device of OpenVINO), without torch."""

from __future__ import annotations

import numpy as np
import openvino as ov

from models.backends.base import Backend, BackendParams, NetworkOutput
from models.errors import ModelError
from models.package import ModelPackage
from models.prediction import FloatArray


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
        settings: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
        if self.device == "CPU":
            settings["INFERENCE_PRECISION_HINT"] = "f32"
            if params.threads is not None:
                settings["INFERENCE_NUM_THREADS"] = params.threads
        self._request = core.compile_model(graph, self.device, settings).create_infer_request()

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
        )


def build(params: Params, *, package: ModelPackage) -> OpenVinoBackend:
    """Compile the model's graph.

    Raises:
        ModelError: the model has no graph, or OpenVINO has no such device.
    """
    return OpenVinoBackend(package, params)


def _device(core: ov.Core, wanted: str) -> str:
    known = list(core.available_devices)
    device = "CPU" if wanted in ("auto", "cpu") else wanted
    if device != "AUTO" and device.split(".")[0] not in {name.split(".")[0] for name in known}:
        raise ModelError(f"openvino has no device {wanted!r} here; it has: {', '.join(known)}")
    return device
