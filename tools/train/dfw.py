"""Deep Frank-Wolfe: a step whose size follows in closed form from the current loss.

Berrada, Zisserman, Kumar, "Deep Frank-Wolfe for Neural Network Optimization", ICLR 2019 (arXiv 1811.07591). Around the
current weights w0, with the gradient d of the loss and the gradient r of the regulariser, a step solves

    min over w of |w - w0|^2 / (2 eta) + <r, w - w0> + max(0, loss + <d, w - w0>).

Its dual has one unknown, gamma in 0..1, and w = w0 - eta (r + gamma d). So eta is the only rate to choose, and gamma
makes the step short where the loss is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["DFW"]


class DFW(Optimizer):
    """Deep Frank-Wolfe with momentum, for a loss that is never negative.

    Args:
        params: parameters, or groups of them; a group may have its own `eta`, `momentum` and `weight_decay`.
        eta: the proximal coefficient, the largest possible rate.
        momentum: share of the former steps that goes on, 0..1.
        weight_decay: the regulariser is weight_decay / 2 |w|^2, so r = weight_decay w.
        eps: keeps gamma finite where the gradient vanishes.

    Attributes:
        gamma: the step size of the last step, 0..1 of `eta`.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        eta: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        eps: float = 1e-5,
    ) -> None:
        if not eta > 0:
            raise ValueError(f"eta must be above 0, not {eta}")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, not {momentum}")
        if not weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, not {weight_decay}")
        if not eps > 0:
            raise ValueError(f"eps must be above 0, not {eps}")
        self.eps = eps
        self.gamma = 0.0
        super().__init__(params, {"eta": eta, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Tensor | float | Callable[[], Tensor | float]) -> float:  # type: ignore[override]
        """Make one step from the gradients that are there.

        Args:
            closure: the loss that the gradients belong to, or a function that computes both. With several processes
                it must be the mean over all of them, as the gradients are, so that every process takes the same step.

        Returns:
            The loss.

        Raises:
            ValueError: the loss is negative or not finite; no weight was changed.
        """
        if callable(closure):
            with torch.enable_grad():
                closure = closure()
        loss = float(closure)
        if not 0 <= loss < float("inf"):
            raise ValueError(f"Deep Frank-Wolfe needs a finite loss that is not negative, not {loss}")
        self.gamma = self._step_size(loss)
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    self._move(weights, weights.grad, group)
        return loss

    def _step_size(self, loss: float) -> float:
        """The gamma that solves the dual: (loss - eta <d, r>) / (eta |d|^2), in 0..1."""
        numerator, denominator = loss, 0.0
        for group in self.param_groups:
            pairs = [(w, w.grad) for w in group["params"] if w.grad is not None]
            if not pairs:
                continue
            # One number per group leaves the device, not one per parameter.
            along = torch.stack([(grad.double() * w.double()).sum() for w, grad in pairs]).sum()
            square = torch.stack([grad.double().square().sum() for _, grad in pairs]).sum()
            numerator -= group["eta"] * group["weight_decay"] * float(along)
            denominator += group["eta"] * float(square)
        return min(1.0, max(0.0, numerator / (denominator + self.eps)))

    def _move(self, weights: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        eta, momentum = group["eta"], group["momentum"]
        regulariser = group["weight_decay"] * weights
        weights.sub_(eta * (regulariser + self.gamma * gradient))
        if momentum == 0:
            return
        state = self.state[weights]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weights)
        buffer = state["momentum_buffer"]
        buffer.mul_(momentum).sub_(eta * self.gamma * (gradient + regulariser))
        weights.add_(buffer, alpha=momentum)
