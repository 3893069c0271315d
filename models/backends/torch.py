"""Backend `torch`: the networks as PyTorch modules, on a CPU or a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.backends.base import Array, Backend, BackendParams, NetworkOutput
from models.devices import torch_device
from models.errors import ModelError
from models.package import ModelPackage
from models.prediction import FloatArray
from models.scene_network import build_scene_network

TRACES = False


class Params(BackendParams):
    """Parameters of `torch`. `threads` is PyTorch's, which holds for the whole process."""


class TorchBackend(Backend):
    """A network in float32, in evaluation mode."""

    name = "torch"

    def __init__(self, package: ModelPackage, params: Params) -> None:
        self.device = _device(params)
        network = build_scene_network(package.manifest.model_dump())
        state = {key: value.float() for key, value in load_file(package.path("weights")).items()}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ModelError(f"the weights of {package.manifest.name!r} do not fit its networks: {error}") from error
        self._network = network.eval().to(self.device)

    def lane(self) -> TorchBackend:
        """See `Backend.lane`. A module that is only evaluated serves any number of threads."""
        return self

    @torch.inference_mode()
    def infer(self, pictures: FloatArray) -> NetworkOutput:
        """See `Backend.infer`."""
        output = self._network(torch.from_numpy(pictures).to(self.device))
        return NetworkOutput(
            logits=output.logits.float().cpu().numpy(),
            class_map=output.class_map.cpu().numpy(),
            class_scores=output.class_scores.float().cpu().numpy(),
            gate=output.gate.float().cpu().numpy(),
            activation=output.activation.float().cpu().numpy(),
            unknown=output.unknown.float().cpu().numpy(),
        )


def build(params: Params, *, package: ModelPackage) -> TorchBackend:
    """Build the networks and load their weights.

    Raises:
        ModelError: the weights do not fit, or there is no such device.
    """
    return TorchBackend(package, params)


class TorchModule:
    """A module in evaluation mode on a device; see `models.backends.base.CompiledModule`."""

    def __init__(self, module: nn.Module, device: str) -> None:
        self.device = device
        self._module = module.eval().to(device)

    @torch.inference_mode()
    def __call__(self, *inputs: Array) -> list[Array]:
        """See `CompiledModule`."""
        outputs = self._module(*(torch.from_numpy(array).to(self.device) for array in inputs))
        tensors = [outputs] if isinstance(outputs, Tensor) else outputs
        return [tensor.cpu().numpy() for tensor in tensors]


def compile_module(params: Params, module: nn.Module, example_inputs: Sequence[Tensor]) -> TorchModule:  # noqa: ARG001
    """Make a module ready to run on arrays of any shape that it takes; it is moved to the device.

    Args:
        params: device and threads.
        module: takes tensors, returns a tensor or a tuple of tensors.
        example_inputs: what other backends trace it with.

    Raises:
        ModelError: there is no such device.
    """
    return TorchModule(module, _device(params))


def _device(params: Params) -> str:
    """The device that is asked for, once the threads are set."""
    device = torch_device(params.device)
    if params.threads is not None:
        torch.set_num_threads(params.threads)
    return device
