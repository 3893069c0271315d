"""Optimisers by name, and the course of their rates."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tools.train.dfw import DFW
from tools.train.optimiser import half_cosine
from tools.train.two_stage.recipe import OptimiserSettings


def build_optimiser(parameters: Iterable[nn.Parameter], settings: OptimiserSettings) -> Optimizer:
    """The optimiser of a stage. AdamW decays matrices and kernels alone; the others decay everything, as their papers
    do."""
    parameters = list(parameters)
    if settings.kind == "dfw":
        return DFW(parameters, settings.lr, settings.momentum, settings.weight_decay)
    if settings.kind == "sgd":
        return torch.optim.SGD(parameters, settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    vectors = [p for p in parameters if p.ndim < 2]
    matrices = [p for p in parameters if p.ndim >= 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.lr)


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Set the rate of all groups; Deep Frank-Wolfe calls it eta."""
    for group in optimiser.param_groups:
        group["eta" if isinstance(optimiser, DFW) else "lr"] = rate


def take_step(optimiser: Optimizer, loss: Tensor, scaler: torch.amp.GradScaler | None) -> None:
    """Step from the gradients that are there; `loss` is what they belong to, and with `scaler` they are scaled."""
    needed = (float(loss),) if isinstance(optimiser, DFW) else ()
    if scaler is None:
        optimiser.step(*needed)
        return
    scaler.unscale_(optimiser)
    scaler.step(optimiser, *needed)
    scaler.update()


def rate_share(settings: OptimiserSettings, step: int, steps: int, epoch: int) -> float:
    """Share of the full rate at a step of `steps`, in epoch `epoch` (from 0): warm-up, then the schedule."""
    warmup = round(settings.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "step":
        return settings.step_factor ** (epoch // settings.step_epochs)
    if settings.schedule == "cosine":
        return half_cosine((step - warmup) / max(1, steps - warmup), settings.final)
    return 1.0
