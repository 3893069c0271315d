"""What several trainers share: AdamW's groups of parameters, the course of the rate, and L-BFGS for regressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def adamw(
    parameters: Iterable[tuple[str, nn.Parameter]], rate: Callable[[str], float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW over named parameters; vectors (biases, norms) do not decay.

    Args:
        parameters: all that is trained.
        rate: of a parameter, by its name.
        weight_decay: of matrices and kernels.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        groups.setdefault((rate(name), parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": members, "lr": lr, "weight_decay": weight_decay if decays else 0.0}
            for (lr, decays), members in groups.items()
        ]
    )


def rate_share(step: int, steps: int, warmup: float, final: float) -> float:
    """Share of the full rate at a step of `steps`: it rises for the share `warmup` of them, at least for one, then
    falls by half a cosine to `final`."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return half_cosine((step - rising) / max(1, steps - rising), final)


def half_cosine(progress: float, final: float = 0.0) -> float:
    """From 1 at `progress` 0 to `final` at 1."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


def minimise(value: Callable[[], Tensor], parameters: Iterable[Tensor], steps: int) -> None:
    """Change `parameters`, so that `value`, a smooth function of them, becomes least, in at most `steps` of L-BFGS."""
    optimiser = torch.optim.LBFGS(list(parameters), max_iter=steps, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimiser.zero_grad()
        found = value()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(step)  # type: ignore[no-untyped-call]
