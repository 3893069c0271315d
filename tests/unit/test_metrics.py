"""Figures against values worked out by hand, and against what must hold for any scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import metrics

# Four samples, three classes; the last sample's classes 0 and 1 are equally probable.
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
TARGETS = np.array([0, 1, 1, 1])


def test_top_k_by_hand():
    assert metrics.top_k_accuracy(PROBABILITIES, TARGETS, 1) == 0.5
    assert metrics.top_k_accuracy(PROBABILITIES, TARGETS, 2) == 1.0


def test_confusion_has_true_classes_as_rows():
    confusion = metrics.confusion_matrix(PROBABILITIES.argmax(axis=1), TARGETS, 3)
    assert confusion.tolist() == [[1, 0, 0], [1, 1, 1], [0, 0, 0]]


def test_mean_class_accuracy_in_both_readings():
    confusion = metrics.confusion_matrix(PROBABILITIES.argmax(axis=1), TARGETS, 3)
    assert metrics.mean_class_accuracy(confusion) == pytest.approx((1 + 1 / 3) / 2)
    assert metrics.mean_class_accuracy(confusion, absent_as_zero=True) == pytest.approx((1 + 1 / 3) / 3)


def test_calibration_error_by_hand():
    # Confidences .7 .6 .5 .4, right wrong right wrong, each in a bin of its own: (.3 + .6 + .5 + .4) / 4.
    assert metrics.calibration_error(PROBABILITIES, TARGETS) == pytest.approx(0.45)


def test_reliability_by_hand():
    bins = metrics.reliability(PROBABILITIES, TARGETS, bins=5)
    np.testing.assert_allclose(bins[:, 0], [0, 1, 2, 1, 0])  # 0.6 belongs to the bin that it ends
    np.testing.assert_allclose(bins[2], [2, 0.55, 0.5])
    np.testing.assert_allclose(bins[3], [1, 0.7, 1])


def test_certain_and_right_is_calibrated():
    assert metrics.calibration_error(np.eye(3), np.arange(3)) == pytest.approx(0)


def test_entropy_loss_by_hand():
    assert metrics.entropy_loss(PROBABILITIES[:2], TARGETS[:2]) == pytest.approx(-np.log(0.7 * 0.3) / 2)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(3,\)"):
        metrics.top_k_accuracy(PROBABILITIES, TARGETS[:3], 1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 7))
def test_figures_stay_in_their_bounds(seed: int, count: int, classes: int):
    rng = np.random.default_rng(seed)
    probabilities = metrics.softmax(rng.normal(0, 3, (count, classes)))
    targets = rng.integers(classes, size=count)
    report = metrics.summary(probabilities, targets)
    assert 0 <= report["top1"] <= report["top2"] <= report["top5"] <= 1
    assert 0 <= report["mca_absent_as_zero"] <= report["mca"] <= 1
    assert 0 <= report["ece"] <= 1
    assert metrics.top_k_accuracy(probabilities, targets, classes) == 1


@given(st.floats(0.1, 10))
def test_temperature_keeps_the_order(temperature: float):
    logits = np.array([[2.0, -1.0, 0.5]])
    assert np.array_equal(np.argsort(metrics.softmax(logits, temperature)), np.argsort(logits))
