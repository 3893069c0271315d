"""Backend `torch`: the networks as PyTorch modules, on a CPU or a CUDA device."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.backends._cuda_graphs import CudaGraphs
from models.backends.base import Array, Backend, BackendParams, NetworkOutput, Pictures, Side, precision_for
from models.device_frames import DeviceLane, as_picture, by_size, squashed
from models.devices import torch_device
from models.errors import ModelError
from models.package import ModelPackage
from models.preprocess import Preprocess
from models.scene_network import SceneNetwork, SceneOutput, build_scene_network

TRACES = False


class Params(BackendParams):
    """Parameters of `torch`. `threads` is PyTorch's, which holds for the whole process."""


class PictureNetwork(nn.Module):
    """A scene network that takes pictures (B, H, W, 3) uint8 and normalises them where it is."""

    def __init__(self, network: SceneNetwork, preprocess: Preprocess) -> None:
        super().__init__()
        self.network = network
        scale, offset = (torch.from_numpy(values).view(3, 1, 1) for values in preprocess.scale_and_offset())
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)

    def forward(self, pictures: Tensor) -> SceneOutput:
        """See `SceneNetwork.forward`."""
        normal = pictures.permute(0, 3, 1, 2).float() * self.get_buffer("scale") + self.get_buffer("offset")
        output: SceneOutput = self.network(normal)
        return output


class TorchBackend(Backend):
    """A network in evaluation mode: in float32, or with the layers that gain by it in bfloat16 or float16.

    On a CUDA device frames go up as they are, as uint8 from pinned memory, are resized there, and the kernels of the
    networks are started as one graph.

    Args:
        network: on the device.
        device: `cpu`, `cuda` or `cuda:N`.
        precision: see `BackendParams`.
        resizes_on: see `Backend.resizes_on`.
    """

    name = "torch"

    def __init__(self, network: PictureNetwork, device: str, precision: str, resizes_on: Side) -> None:
        self.device, self.precision, self.resizes_on = device, precision, resizes_on
        self._network = network
        self._lane = DeviceLane(device)
        self._graphs = CudaGraphs(self.forward, self._lane) if device.startswith("cuda") else None

    @torch.inference_mode()
    def infer(self, pictures: Pictures) -> NetworkOutput:
        """See `Backend.infer`."""
        with self._lane.stream():
            return self._infer(self._lane.upload(list(pictures)))

    @torch.inference_mode()
    def infer_frames(self, frames: Sequence[Pictures], preprocess: Preprocess) -> NetworkOutput:
        """See `Backend.infer_frames`."""
        if self.resizes_on == "host":
            return super().infer_frames(frames, preprocess)
        size = preprocess.height, preprocess.width
        checked = [as_picture(frame) for frame in frames]
        with self._lane.stream():
            small = torch.empty(len(frames), *size, 3, dtype=torch.uint8, device=self.device)
            for numbers in by_size(checked):
                several = squashed(self._lane.upload([checked[number] for number in numbers]), size)
                for number, picture in zip(numbers, several, strict=True):
                    small[number] = picture
            return self._infer(small)

    def lane(self) -> TorchBackend:
        """See `Backend.lane`."""
        return TorchBackend(self._network, self.device, self.precision, self.resizes_on)

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """The networks on pictures (B, H, W, 3) uint8 that are on the device, one kernel after the other."""
        with computing_in(self.precision, self.device):
            return tuple(self._network(pictures))

    def _infer(self, pictures: Tensor) -> NetworkOutput:
        found = self.forward(pictures) if self._graphs is None else self._graphs(pictures)
        output = SceneOutput(*(tensor.cpu() for tensor in found))
        return NetworkOutput(
            logits=output.logits.float().numpy(),
            class_map=output.class_map.numpy(),
            class_scores=output.class_scores.float().numpy(),
            gate=output.gate.float().numpy(),
            activation=output.activation.float().numpy(),
            unknown=output.unknown.float().numpy(),
        )


def build(params: Params, *, package: ModelPackage) -> TorchBackend:
    """Build the networks and load their weights.

    Raises:
        ModelError: the weights do not fit, or there is no such device or precision.
    """
    device = _device(params)
    precision = _precision(params, device, package.manifest.precisions)
    network = build_scene_network(package.manifest.model_dump())
    state = {key: value.float() for key, value in load_file(package.path("weights")).items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"the weights of {package.manifest.name!r} do not fit its networks: {error}") from error
    module = PictureNetwork(network, package.preprocess).eval().to(device)
    if not device.startswith("cuda"):
        return TorchBackend(module, device, precision, "host")
    return TorchBackend(module.to(memory_format=torch.channels_last), device, precision, "device")


class TorchModule:
    """A module in evaluation mode on a device; see `models.backends.base.CompiledModule`."""

    def __init__(self, module: nn.Module, device: str, precision: str) -> None:
        self.device, self.precision = device, precision
        self._module = module.eval().to(device)

    @torch.inference_mode()
    def __call__(self, *inputs: Array) -> list[Array]:
        """See `CompiledModule`."""
        found = self.on_device(*(torch.from_numpy(array).to(self.device) for array in inputs))
        return [tensor.cpu().numpy() for tensor in found]

    def on_device(self, *inputs: Tensor) -> list[Tensor]:
        """The outputs for tensors on the device, which stay there; floating point as float32."""
        with computing_in(self.precision, self.device):
            outputs = self._module(*inputs)
        tensors = [outputs] if isinstance(outputs, Tensor) else outputs
        return [t.float() if t.is_floating_point() else t for t in tensors]

    def lane(self) -> TorchModule:
        """See `CompiledModule.lane`; a module in evaluation mode keeps nothing between calls."""
        return TorchModule(self._module, self.device, self.precision)


def compile_module(params: Params, module: nn.Module, example_inputs: Sequence[Tensor]) -> TorchModule:  # noqa: ARG001
    """Make a module ready to run on arrays of any shape that it takes; it is moved to the device.

    Args:
        params: device, threads and precision.
        module: takes tensors, returns a tensor or a tuple of tensors.
        example_inputs: what other backends trace it with.

    Raises:
        ModelError: there is no such device or precision.
    """
    device = _device(params)
    return TorchModule(module, device, _precision(params, device))


def _device(params: Params) -> str:
    """The device that is asked for, once the threads are set."""
    device = torch_device(params.device)
    if params.threads is not None:
        torch.set_num_threads(max(1, params.threads // params.lanes))
    return device


def _precision(params: Params, device: str, held: Sequence[str] = ("f32",)) -> str:
    if device.startswith("cuda"):
        return precision_for("torch", device, params.precision, ("f32", "f16", "bf16"), held)
    # On a CPU without the instructions, bfloat16 is right and slow: nothing for `auto`.
    return precision_for("torch", device, params.precision, ("f32", "bf16"), ("f32",))


def computing_in(precision: str, device: str) -> AbstractContextManager[None]:
    """Layers that gain by it compute in `f32`, `bf16` or `f16` inside of this."""
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[precision]
    # Its cache of cast weights would not outlive the call, and must not be used while a CUDA graph is recorded.
    cast: AbstractContextManager[None] = torch.autocast(
        torch.device(device).type, dtype, enabled=precision != "f32", cache_enabled=False
    )
    return cast
