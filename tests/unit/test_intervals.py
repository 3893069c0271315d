"""Bootstrap intervals against what can be worked out, and against what must hold for any figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools import metrics
from tools.intervals import (
    Interval,
    mca_difference_interval,
    mca_interval,
    mean_difference_interval,
    mean_interval,
)


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_what_cannot_vary_has_no_width():
    right, classes = np.ones(7, bool), np.arange(7) % 3
    assert mean_interval(right) == (1, 1)
    assert mca_interval(right, classes) == (1, 1)
    assert mean_interval(np.full(4, 0.25)) == (0.25, 0.25)
    assert mean_interval(np.array([3.0])) == (3, 3)
    assert mean_difference_interval(right, right) == (0, 0)
    assert mca_difference_interval(right, right, classes) == (0, 0)


def test_two_pictures_by_hand():
    """Of 0 and 1, a quarter of the draws has 0 twice, a half one of each, a quarter 1 twice."""
    values = np.array([0.0, 1.0])
    assert mean_interval(values) == (0, 1)
    assert mean_interval(values, level=0.4) == (0.5, 0.5)


def test_a_share_has_the_bounds_of_the_binomial_distribution():
    """For n = 400 and p = 0.9 its standard deviation is sqrt(p (1 - p) / n) = 0.015; 1.96 of them each way."""
    values = np.arange(400) % 10 > 0
    low, high = mean_interval(values, draws=20_000)
    assert low == pytest.approx(0.9 - 1.96 * 0.015, abs=0.003)
    assert high == pytest.approx(0.9 + 1.96 * 0.015, abs=0.003)


def test_mca_of_one_class_is_the_mean():
    right = np.arange(50) % 4 > 0
    assert mca_interval(right, np.zeros(50, int)) == pytest.approx(mean_interval(right))


def test_mca_leans_on_small_classes():
    """100 pictures of a class that is always right, 4 of one that is half right: the few decide how wide it is."""
    right = np.array([True] * 102 + [False] * 2)
    classes = np.array([0] * 100 + [1] * 4)
    low, high = mca_interval(right, classes)
    assert low == pytest.approx(0.5, abs=0.07)
    assert high == 1
    assert mean_interval(right)[0] > 0.95


def test_the_same_as_drawing_picture_after_picture():
    rng = np.random.default_rng(5)
    classes = rng.integers(0, 4, 120)
    right = rng.random(120) < 0.5 + 0.1 * classes
    figures = []
    for _ in range(2000):
        chosen = rng.integers(0, 120, 120)
        confusion = metrics.confusion_matrix(np.where(right, classes, (classes + 1) % 4)[chosen], classes[chosen], 4)
        figures.append(metrics.mean_class_accuracy(confusion))
    found = mca_interval(right, classes, draws=20_000)
    assert found == pytest.approx(np.quantile(figures, [0.025, 0.975]), abs=0.01)


def test_covers_the_truth_about_as_often_as_it_says():
    """300 sets of 200 pictures from a model that is right for 80 of 100: the interval has 0.8 in about 95 of 100."""
    rng = np.random.default_rng(0)
    sets = rng.random((300, 200)) < 0.8
    intervals = [mean_interval(values, seed=i) for i, values in enumerate(sets)]
    covered = np.mean([low <= 0.8 <= high for low, high in intervals])
    assert 0.91 <= covered <= 0.98


def test_pairs_are_narrower_where_models_err_on_the_same_pictures():
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 5, 500)
    theirs = rng.random(500) < 0.8
    ours = np.where(rng.random(500) < 0.04, ~theirs, theirs)
    paired = mean_difference_interval(ours, theirs)
    unpaired = mean_difference_interval(rng.permutation(ours), theirs)
    assert width(paired) < 0.5 * width(unpaired)
    paired_mca = mca_difference_interval(ours, theirs, classes)
    elsewhere = ours.copy()
    for kind in range(5):  # each picture meets another of its class
        elsewhere[classes == kind] = rng.permutation(ours[classes == kind])
    assert width(paired_mca) < 0.5 * width(mca_difference_interval(elsewhere, theirs, classes))


def test_differences_change_sign_with_the_models():
    rng = np.random.default_rng(2)
    ours, theirs, classes = rng.random(80) < 0.9, rng.random(80) < 0.6, rng.integers(0, 3, 80)
    low, high = mca_difference_interval(ours, theirs, classes, draws=5000)
    assert 0 < low < high
    assert mca_difference_interval(theirs, ours, classes, draws=5000) == pytest.approx((-high, -low), abs=0.02)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 6))
def test_bounds_hold_the_figure_and_repeat(seed: int, count: int, kinds: int):
    rng = np.random.default_rng(seed)
    classes, right = rng.integers(0, kinds, count), rng.random(count) < 0.7
    for interval in (mean_interval(right, draws=200), mca_interval(right, classes, draws=200)):
        assert 0 <= interval.low <= interval.high <= 1
    low, high = mean_interval(right, draws=200)
    assert low <= right.mean() + 1e-9
    assert high >= right.mean() - 1e-9
    assert mca_interval(right, classes, draws=200) == mca_interval(right, classes, draws=200)


def test_draws_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(3).random(50)
    whole = mean_interval(values)
    monkeypatch.setattr("tools.intervals._MOST_COUNTS", 170)
    assert mean_interval(values) == pytest.approx(whole)
    assert isinstance(whole, Interval)


@pytest.mark.parametrize("rows", [(np.ones(0),), (np.ones((2, 2)),)])
def test_no_pictures_have_no_interval(rows):
    with pytest.raises(ValueError, match="one value per picture"):
        mean_interval(*rows)


def test_rows_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(3,\), \(2,\)"):
        mca_interval(np.ones(3, bool), np.zeros(2, int))
