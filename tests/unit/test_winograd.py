"""Winograd's way gives the 3x3 convolution, of any size, in torch and in a traced graph."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from models.backends import BACKENDS
from models.layers.winograd import WinogradConv


def made_kernel(seed: int, channels: int, outputs: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.randn(outputs, channels, 3, 3) / (9 * channels) ** 0.5


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    batch=st.integers(1, 3),
    channels=st.integers(1, 8),
    outputs=st.integers(1, 8),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
)
def test_it_is_the_convolution(seed, batch, channels, outputs, height, width) -> None:
    kernel, x = made_kernel(seed, channels, outputs), torch.randn(batch, channels, height, width)
    torch.testing.assert_close(WinogradConv(kernel)(x), F.conv2d(x, kernel, padding=1), rtol=0, atol=5e-5)


def test_errors_of_512_channels_stay_small() -> None:
    kernel, x = made_kernel(0, 512, 512), torch.randn(1, 512, 12, 16)
    wanted = F.conv2d(x.double(), kernel.double(), padding=1)
    assert (WinogradConv(kernel)(x) - wanted).abs().max() < 3e-4 * wanted.std()


def test_a_graph_traced_at_one_size_holds_for_others() -> None:
    kernel = made_kernel(2, 8, 5)
    backend = BACKENDS.load("openvino")
    run = backend.compile_module(backend.Params(device="cpu"), WinogradConv(kernel), (torch.zeros(1, 8, 12, 16),))
    for size in [(12, 16), (7, 9), (1, 1), (20, 26), (3, 14)]:
        x = torch.randn(1, 8, *size)
        np.testing.assert_allclose(run(x.numpy())[0], F.conv2d(x, kernel, padding=1).numpy(), atol=5e-5)
