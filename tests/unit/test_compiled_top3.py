"""The three best classes by a backend are those that torch finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.backends import BACKENDS
from models.compiled_top3 import CompiledTop3
from models.encoding import LabelBase, top3
from models.engine import Engine

IDS = (7, 0, 1, 64, 150, 12, 3)


@pytest.fixture(scope="module", params=BACKENDS.names())
def compiled(request) -> CompiledTop3:
    return CompiledTop3(IDS, Engine(request.param, "cpu"))


def made_logits(height: int, width: int) -> torch.Tensor:
    return 3 * torch.randn(len(IDS), height, width, generator=torch.Generator().manual_seed(height * width))


@pytest.mark.parametrize("base", LabelBase)
@pytest.mark.parametrize(("small", "size"), [((8, 10), (37, 52)), ((5, 7), (5, 7)), ((1, 1), (2, 1)), ((9, 9), (4, 3))])
def test_they_are_those_of_the_whole_map(compiled, small, size, base, monkeypatch) -> None:
    monkeypatch.setattr("models.score_maps._STRIP_NUMBERS", 5 * len(IDS) * size[1])  # so that there are several strips
    logits = made_logits(*small)
    whole = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0].softmax(0)
    wanted, found = top3(whole.numpy(), IDS, base), compiled(logits, size, base)
    assert found.labels.shape == found.scores.shape == (3, *size)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    assert np.abs(found.scores.astype(int) - wanted.scores).max() <= 1


def test_a_broken_output_is_refused(compiled) -> None:
    with pytest.raises(ValueError, match="NaN"):
        compiled(torch.full((len(IDS), 2, 2), torch.nan), (4, 4), LabelBase.ZERO)
