"""UPerNet's fusion convolution, level by level, is the convolution of the enlarged and concatenated levels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from models.layers.csail.decoders import UPerNet
from models.layers.csail.pyramid_conv import PyramidConv, enlarging_taps

CHANNELS, OUTPUTS = 6, 5
sizes = st.tuples(st.integers(1, 21), st.integers(1, 21))


def plain(conv: PyramidConv, pyramid: list[Tensor]) -> Tensor:
    """What `PyramidConv` replaces."""
    size = pyramid[0].shape[-2:]
    enlarged = [F.interpolate(level, size, mode="bilinear", align_corners=False) for level in pyramid]
    return F.conv2d(torch.cat(enlarged, 1), conv.weight, padding=1)


def made(seed: int, levels: list[tuple[int, int]], batch: int = 2) -> tuple[PyramidConv, list[Tensor]]:
    torch.manual_seed(seed)
    pyramid = [torch.randn(batch, CHANNELS, *size) for size in levels]
    return PyramidConv(len(levels), CHANNELS, OUTPUTS), pyramid


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), finest=sizes, others=st.lists(sizes, max_size=3), batch=st.integers(1, 2))
def test_any_sizes_give_the_plain_convolution(seed, finest, others, batch) -> None:
    smaller = [(min(h, finest[0]), min(w, finest[1])) for h, w in others]
    conv, pyramid = made(seed, [finest, *smaller], batch)
    with torch.no_grad():
        torch.testing.assert_close(conv(pyramid), plain(conv, pyramid), rtol=0, atol=1e-5)
        conv.quicken()
        torch.testing.assert_close(conv(pyramid), plain(conv, pyramid), rtol=0, atol=1e-4)


def test_gradients_are_the_plain_convolution_s() -> None:
    conv, pyramid = made(1, [(12, 18), (6, 9), (3, 5)])
    levels = [level.requires_grad_() for level in pyramid]
    wanted = torch.autograd.grad(plain(conv, levels).square().sum(), [conv.weight, *levels])
    found = torch.autograd.grad(conv(levels).square().sum(), [conv.weight, *levels])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "wanted"), [(13, 104), (5, 7), (4, 4), (1, 9)])
def test_the_middle_tap_is_the_enlargement(size: int, wanted: int) -> None:
    line = torch.randn(1, 1, size)
    taps = enlarging_taps(size, wanted, line)
    enlarged = F.interpolate(line, wanted, mode="linear", align_corners=False)[0, 0]
    torch.testing.assert_close(taps[:, 1] @ line[0, 0], enlarged, rtol=0, atol=1e-5)
    assert taps[0, 0].abs().max() == 0, "left of the first place is nothing"
    assert taps[-1, 2].abs().max() == 0, "nor is anything right of the last"


def test_a_quickened_decoder_says_the_same() -> None:
    torch.manual_seed(0)
    channels = (8, 16, 24, 32)
    decoder = UPerNet(channels).eval()
    features = [torch.randn(1, c, -(-20 >> i), -(-28 >> i)) for i, c in enumerate(channels)]
    with torch.inference_mode():
        before = decoder(features)
        decoder.quicken()
        after = decoder(features)
    assert before.shape == (1, 150, 20, 28)
    assert before.std() > 0.01
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)
