"""Training in bfloat16 on CPUs that compute in it, twice as quick as in float32, with one exception.

oneDNN (of torch 2.14) has no quick backward pass for strided depthwise convolutions in bfloat16. The gradient
of the input of theirs, two of which EfficientNet-Lite0 trains, is computed by a convolution without strides instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.openvino_library import cpu_has_bfloat16


def autocast() -> torch.autocast:
    """bfloat16 where this CPU computes in it, else nothing changes."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=cpu_has_bfloat16())


def quicken_strided_depthwise(network: nn.Module) -> None:
    """Let the strided depthwise convolutions of `network` compute their gradients quickly under `autocast`."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and module.stride != (1, 1):
            module.forward = _Quickened(module)  # type: ignore[method-assign]


class _Quickened:
    """The forward function of a depthwise convolution."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        self._convolution = convolution

    def __call__(self, x: Tensor) -> Tensor:
        weight, stride, padding = self._convolution.weight, self._convolution.stride, self._convolution.padding
        if not torch.is_autocast_enabled("cpu"):
            return F.conv2d(x, weight, None, stride, padding, groups=weight.shape[0])
        result: Tensor = _StridedDepthwise.apply(x, weight, stride, padding)
        return result


class _StridedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight)
        ctx.shape, ctx.dtype, ctx.stride, ctx.padding = x.shape, x.dtype, stride, padding
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x.bfloat16(), weight.bfloat16(), None, stride, padding, groups=weight.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _gradient_of_input(gradient, weight, ctx.shape, ctx.stride, ctx.padding).to(ctx.dtype)
        if ctx.needs_input_grad[1]:
            _, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient.float(), x.float(), weight.float(), None, ctx.stride, ctx.padding, (1, 1), False, (0, 0),
                weight.shape[0], (False, True, False),
            )  # fmt: skip
        return of_x, of_weight, None, None


def _gradient_of_input(
    gradient: Tensor, weight: Tensor, shape: torch.Size, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """The gradient spread out to the steps of the input, zeros between, convolved with the turned kernel."""
    kernel, (height, width) = weight.shape[2:], shape[2:]
    sides = [n + 2 * p + k - 1 for n, p, k in zip((height, width), padding, kernel, strict=True)]
    spread = torch.empty((*shape[:2], *sides), dtype=gradient.dtype, memory_format=torch.channels_last).zero_()
    rows, columns = (
        slice(k - 1, k - 1 + n * step, step) for k, n, step in zip(kernel, gradient.shape[2:], stride, strict=True)
    )
    spread[:, :, rows, columns] = gradient
    turned = weight.to(gradient.dtype).flip(2, 3)
    padded = F.conv2d(spread, turned, None, groups=weight.shape[0])
    top, left = padding
    return padded[:, :, top : top + height, left : left + width]
