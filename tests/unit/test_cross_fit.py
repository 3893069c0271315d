"""Soft targets come from classifiers that never saw the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.test_train import COLOURS, small_recipe, synthetic_cache
from tools.train import cross_fit as module
from tools.train.cross_fit import cross_fit

COUNT = 90


@pytest.fixture
def features(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Features that tell the scene; they stand in for those of ImageNet's networks."""
    generator = torch.Generator().manual_seed(0)
    _, targets = synthetic_cache(COUNT)
    clear = torch.nn.functional.one_hot(torch.from_numpy(targets), 8).float() * 3
    made = clear + torch.randn(COUNT, 8, generator=generator)
    monkeypatch.setattr(module, "_features", lambda *_: made)
    return made


def fit(folder: Path, targets: np.ndarray, groups: list[str], said: list[str] | None = None) -> np.ndarray:
    cache, _ = synthetic_cache(COUNT)
    # The synthetic class maps give the scene away; here they tell nothing.
    blank = type(cache)(cache.pictures, cache.grey, np.zeros_like(cache.labels), cache.scores)
    file = folder / "cross_fit.npy"
    return cross_fit(blank, np.arange(COUNT), targets, groups, small_recipe(), file, (said or []).append)


def test_agrees_with_labels_that_the_features_tell(tmp_path: Path, features: torch.Tensor):
    _, targets = synthetic_cache(COUNT)
    said: list[str] = []
    opinion = fit(tmp_path, targets, [str(i) for i in range(COUNT)], said)
    assert opinion.shape == (COUNT, len(COLOURS))
    assert np.allclose(opinion.sum(1), 1, atol=1e-5)
    assert (opinion.argmax(1) == targets).mean() > 0.9


def test_does_not_repeat_a_wrong_label(tmp_path: Path, features: torch.Tensor):
    _, truth = synthetic_cache(COUNT)
    wrong = truth.copy()
    wrong[7] = (truth[7] + 1) % len(COLOURS)
    opinion = fit(tmp_path, wrong, [str(i) for i in range(COUNT)])
    assert opinion[7].argmax() == truth[7]


def test_a_group_is_asked_about_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Features that name the picture's group, and labels by group: only who saw the group could know them."""
    groups = [f"g{i // 3}" for i in range(COUNT)]
    codes = torch.nn.functional.one_hot(torch.arange(COUNT) // 3, COUNT // 3).float()
    monkeypatch.setattr(module, "_features", lambda *_: codes)
    targets = np.random.default_rng(0).integers(0, len(COLOURS), COUNT // 3).repeat(3)
    opinion = fit(tmp_path, targets, groups)
    assert (opinion.argmax(1) == targets).mean() < 0.6


def test_a_result_is_kept(tmp_path: Path, features: torch.Tensor, monkeypatch: pytest.MonkeyPatch):
    _, targets = synthetic_cache(COUNT)
    names = [str(i) for i in range(COUNT)]
    first = fit(tmp_path, targets, names)
    monkeypatch.setattr(module, "_features", lambda *_: pytest.fail("asked twice"))
    assert np.array_equal(first, fit(tmp_path, targets, names))
