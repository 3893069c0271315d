"""The baseline loop is what it says: plain UPerNet, the dense tensor, the two-branch network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from config.errors import UserError
from models.encoding import scatter_top3
from models.segmenters import build_csail
from tools.benchmark.baseline import PlainLoop, dense_tensor, measure_baseline
from tools.benchmark.plain_upernet import PlainUPerNet


@pytest.fixture(scope="module")
def loop():
    made = PlainLoop()
    yield made
    made.close()


def test_the_plain_segmenter_is_upernet(loop):
    """Ours may become as clever as it likes; with the plain one's weights it says the same."""
    ours = build_csail("upernet_r50").eval()
    missing, unexpected = ours.load_state_dict(loop.segmenter.state_dict(), strict=False)
    assert not unexpected
    assert all("_running" in name or "_tmp" in name for name in missing)
    picture = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = ours(picture, (32, 48)), loop.segmenter(picture, (32, 48))
    assert isinstance(loop.segmenter, PlainUPerNet)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 32, 48), rtol=0, atol=1e-5)
    assert len(found.argmax(1).unique()) > 1, "the same everywhere"


def test_a_frame_goes_all_the_way(loop):
    frame = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    probabilities = torch.rand(1, 150, 320, 416, generator=torch.Generator().manual_seed(1)).softmax(1)
    logits = loop.classify(frame, probabilities)
    assert logits.shape == (1, 365)
    assert torch.isfinite(logits).all()
    loop.segment = lambda rgb: probabilities  # the large network has its own test
    times = loop.step((frame, 0.5))
    assert len(times) == 4
    assert times[0] == 0.5
    assert min(times) > 0


def test_the_dense_tensor_holds_the_three_best():
    probabilities = torch.rand(1, 150, 224, 224, generator=torch.Generator().manual_seed(2)).softmax(1)
    scores, labels = probabilities.topk(3, 1)
    expected = scatter_top3(labels[0].numpy().astype(np.uint8), scores[0].numpy())
    np.testing.assert_allclose(dense_tensor(probabilities)[0].numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("uri", ["synthetic:?frames=20", "no/such.mp4"])
def test_what_it_cannot_read_is_named(uri):
    with pytest.raises(UserError, match="is no file"):
        measure_baseline(uri, 1)
