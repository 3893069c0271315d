"""Backend `torch`: the networks as PyTorch modules, on a CPU or a CUDA device."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from models.backends.base import Backend, BackendParams, NetworkOutput
from models.errors import ModelError
from models.package import ModelPackage
from models.prediction import FloatArray
from models.scene_network import build_scene_network


class Params(BackendParams):
    """Parameters of `torch`. `threads` is PyTorch's, which holds for the whole process."""


class TorchBackend(Backend):
    """A network in float32, in evaluation mode."""

    name = "torch"

    def __init__(self, package: ModelPackage, params: Params) -> None:
        self.device = _device(params.device)
        if params.threads is not None:
            torch.set_num_threads(params.threads)
        network = build_scene_network(package.manifest.model_dump())
        state = {key: value.float() for key, value in load_file(package.path("weights")).items()}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ModelError(f"the weights of {package.manifest.name!r} do not fit its networks: {error}") from error
        self._network = network.eval().to(self.device)

    @torch.inference_mode()
    def infer(self, pictures: FloatArray) -> NetworkOutput:
        """See `Backend.infer`."""
        output = self._network(torch.from_numpy(pictures).to(self.device))
        return NetworkOutput(
            logits=output.logits.float().cpu().numpy(),
            class_map=output.class_map.cpu().numpy(),
            class_scores=output.class_scores.float().cpu().numpy(),
            gate=output.gate.float().cpu().numpy(),
        )


def build(params: Params, *, package: ModelPackage) -> TorchBackend:
    """Build the networks and load their weights.

    Raises:
        ModelError: the weights do not fit, or there is no such device.
    """
    return TorchBackend(package, params)


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError("torch finds no CUDA device here; use --device cpu, or see `scene-streamer doctor`")
    try:
        return str(torch.device(wanted))
    except RuntimeError as error:
        raise ModelError(f"torch knows no device {wanted!r}; use cpu, cuda or cuda:N") from error
