"""The sparse first convolution of the semantic branch is the dense one, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.classifiers.two_branch import SemanticNet, TwoBranchNet
from models.layers.semantic_stem import SemanticConv, Top3

CLASSES = 151


def made_top3(seed: int, batch: int = 2, size: tuple[int, int] = (32, 48), classes: int = CLASSES) -> Top3:
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (batch, 3, *size), generator=random, dtype=torch.uint8)
    scores = torch.rand(batch, 3, *size, generator=random)
    return Top3(labels, scores * (scores > 0.2))


def made_conv(seed: int = 0, classes: int = CLASSES, outputs: int = 16) -> SemanticConv:
    torch.manual_seed(seed)
    return SemanticConv(classes, outputs)


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 3),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    classes=st.integers(1, 6),
)
def test_any_size_and_number_of_classes(seed: int, batch: int, height: int, width: int, classes: int) -> None:
    top3 = made_top3(seed, batch, (2 * height, 2 * width), classes)  # so few classes that most labels come twice
    conv = made_conv(seed, classes, outputs=8)
    with torch.no_grad():
        assert_same(conv(top3), conv(top3.dense(classes)))


def test_gradients_of_weight_and_scores() -> None:
    top3, conv = made_top3(1), made_conv()
    sparse, dense = top3.scores.clone().requires_grad_(), top3.scores.clone().requires_grad_()
    seen = conv(Top3(top3.labels, sparse))
    towards = torch.randn(seen.shape, generator=torch.Generator().manual_seed(2))
    seen.backward(towards)
    assert conv.weight.grad is not None
    found, conv.weight.grad = conv.weight.grad, None
    conv(Top3(top3.labels, dense).dense(CLASSES)).backward(towards)
    assert conv.weight.grad is not None
    assert_same(found, conv.weight.grad)
    assert sparse.grad is not None
    assert dense.grad is not None
    assert_same(sparse.grad, dense.grad)


def test_a_class_that_is_everywhere() -> None:
    # One class has more entries than are summed at once.
    labels = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    labels[:, 1], labels[:, 2] = 7, 150
    top3, conv = Top3(labels, torch.full((1, 3, 64, 64), 0.25)), made_conv()
    conv(top3).sum().backward()
    assert conv.weight.grad is not None
    found, conv.weight.grad = conv.weight.grad, None
    conv(top3.dense(CLASSES)).sum().backward()
    assert conv.weight.grad is not None
    assert_same(found, conv.weight.grad)


def test_the_last_of_equal_labels_wins_even_with_a_score_of_nothing() -> None:
    labels = torch.full((1, 3, 8, 8), 5, dtype=torch.uint8)
    scores = torch.tensor([0.5, 0.3, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8).contiguous()
    conv = made_conv()
    with torch.no_grad():
        assert conv(Top3(labels, scores)).abs().max() == 0
        swapped = Top3(labels, scores.flip(1))
        assert_same(conv(swapped), conv(swapped.dense(CLASSES)))
        assert conv(swapped).abs().max() > 0


def test_all_scores_0_have_a_gradient_of_0() -> None:
    conv = made_conv()
    conv(Top3(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 3, 8, 8))).sum().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.abs().max() == 0


def test_no_tensor_of_all_channels_is_made() -> None:
    top3, conv = made_top3(3, batch=1, size=(224, 224)), made_conv(outputs=64)
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), keywords=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = function(*arguments, **(keywords or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    with Watch():
        conv(top3).sum().backward()
    assert 0 < largest < 152 * 224 * 224 / 4


@pytest.mark.parametrize("network", [SemanticNet(5), TwoBranchNet("resnet18", 5)], ids=["semantic", "both"])
def test_the_networks_take_either_form(network: torch.nn.Module) -> None:
    picture, top3 = torch.zeros(1, 3, 224, 224), made_top3(4, batch=1, size=(224, 224))
    network.eval()
    with torch.inference_mode():
        for found, expected in zip(network(picture, top3), network(picture, top3.dense(CLASSES)), strict=True):
            assert_same(found, expected)


def test_wrong_entries_are_named() -> None:
    network = SemanticNet(5, semantic_classes=20)
    good = made_top3(5, batch=1, size=(224, 224), classes=20)
    with pytest.raises(ValueError, match="label 30 has no channel"):
        network(None, Top3(good.labels + 30 - int(good.labels.max()), good.scores))
    with pytest.raises(ValueError, match="crop them like the picture"):
        network(None, Top3(good.labels[..., 1:], good.scores))
    with pytest.raises(ValueError, match="labels are whole numbers"):
        network(None, Top3(good.labels.float(), good.scores))
