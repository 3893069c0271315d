"""Runs the parts of a network that training leaves alone, by OpenVINO: several times as fast as torch on a CPU."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from models.openvino_library import cpu_has_bfloat16, ov


class FrozenModule:
    """A module's outputs under the weights it had when this was built; no gradients, evaluation mode.

    Args:
        module: takes one tensor, returns a tensor or a tuple of tensors.
        example: an input of the shape that will come; the batch size may vary.
        rough: bfloat16 where the CPU computes in it, for training; figures are taken in float32.
    """

    def __init__(self, module: nn.Module, example: Tensor, rough: bool = False) -> None:
        training = module.training
        module.eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing announces its retirement at every call
            model = ov.convert_model(module, example_input=example, input=[(-1, *example.shape[1:])])
        module.train(training)
        settings = {"INFERENCE_PRECISION_HINT": "bf16" if rough and cpu_has_bfloat16() else "f32"}
        self._request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run on (B, ...) float32; the results are copies."""
        outputs = self._request.infer({0: x.contiguous().numpy()})
        return tuple(torch.from_numpy(array.copy()) for array in outputs.values())
