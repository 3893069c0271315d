"""bfloat16 on the CPU changes how quick training is, not what it learns."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tools.train import mixed


def networks() -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(8, 8, 5, 2, 2, groups=8, bias=False), nn.Conv2d(8, 4, 1))
    quick = copy.deepcopy(plain)
    mixed.quicken_strided_depthwise(quick)
    return plain, quick


def gradients(network: nn.Module, x: torch.Tensor, half: bool) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        y = network(x)
    y.float().square().mean().backward()
    assert x.grad is not None
    return [x.grad, *(p.grad for p in network.parameters() if p.grad is not None)]


@pytest.mark.parametrize("side", [12, 13])
@pytest.mark.parametrize("half", [False, True])
def test_gradients_are_those_of_the_plain_network(half: bool, side: int):
    plain, quick = networks()
    x = torch.randn(2, 8, side, side + 3)
    for ours, theirs in zip(gradients(quick, x, half), gradients(plain, x, False), strict=True):
        assert torch.allclose(ours, theirs, atol=0.02 * float(theirs.abs().max()) if half else 1e-6)


def test_a_frozen_kernel_gets_no_gradient():
    _, quick = networks()
    quick[0].weight.requires_grad_(False)
    gradients(quick, torch.randn(2, 8, 12, 12), True)
    assert quick[0].weight.grad is None


def test_a_copy_computes_with_its_own_weights():
    _, quick = networks()
    other = copy.deepcopy(quick)
    x = torch.randn(1, 8, 8, 8)
    before = quick(x)
    nn.init.zeros_(other[0].weight)
    assert torch.equal(quick(x), before)
    assert not torch.equal(other(x), before)
