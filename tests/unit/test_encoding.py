from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.encoding import LabelBase, scatter_top3, top3

SIDES = st.tuples(st.integers(1, 4), st.integers(1, 4))
BYTES = st.integers(0, 255)
RELAXED = settings(deadline=None, max_examples=50)  # a busy machine is no failure


@st.composite
def coded(draw: st.DrawFn, largest: int = 150) -> tuple[np.ndarray, np.ndarray]:
    shape = (3, *draw(SIDES))
    labels = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, largest)))
    return labels, draw(hnp.arrays(np.uint8, shape, elements=BYTES))


@st.composite
def predicted(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    classes = draw(st.integers(1, 12))
    ids = draw(st.lists(st.integers(1, 150), min_size=classes, max_size=classes, unique=True))
    raw = draw(hnp.arrays(np.float32, (classes, *draw(SIDES)), elements=st.floats(0, 1, width=32)))
    return raw / np.maximum(raw.sum(0), 1), ids


@RELAXED
@given(coded())
def test_a_pixel_has_at_most_three_channels(pair: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = pair
    tensor = scatter_top3(labels, scores)
    assert tensor.shape == (152, *labels.shape[1:])
    assert tensor.dtype == np.float32
    assert ((tensor > 0).sum(0) <= 3).all()
    assert not tensor[0].any()  # label -1 does not exist
    assert tensor.min() >= 0
    assert tensor.max() <= 1


@RELAXED
@given(coded())
def test_the_last_of_equal_labels_wins(pair: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = pair
    expected = np.zeros((152, *labels.shape[1:]), np.float32)
    for k in range(3):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                expected[int(labels[k, y, x]) + 1, y, x] = np.float32(scores[k, y, x]) / np.float32(255)
    np.testing.assert_array_equal(scatter_top3(labels, scores), expected)


@RELAXED
@given(coded())
def test_distinct_labels_keep_the_sum(pair: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = pair
    labels = np.stack([(labels[0] // 3) * 3 % 147 + k for k in range(3)]).astype(np.uint8)
    total = scatter_top3(labels, scores).sum(0)
    np.testing.assert_allclose(total, scores.sum(0, dtype=np.float64) / 255, rtol=1e-5)


@RELAXED
@given(coded(largest=149))
def test_a_base_shifts_the_channels_by_one(pair: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = pair
    zero, one = scatter_top3(labels, scores), scatter_top3(labels + np.uint8(1), scores)
    np.testing.assert_array_equal(one[1:], zero[:-1])
    assert not zero[151].any()


@RELAXED
@given(coded())
def test_floating_scores_are_taken_as_they_are(pair: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = pair
    as_float = scores.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(scatter_top3(labels, as_float), scatter_top3(labels, scores))


@RELAXED
@given(predicted(), st.sampled_from(LabelBase))
def test_the_best_come_first_and_come_back(pair: tuple[np.ndarray, list[int]], base: LabelBase) -> None:
    probabilities, ids = pair
    labels, scores = top3(probabilities, ids, base)
    assert labels.dtype == scores.dtype == np.uint8
    assert (np.diff(scores.astype(int), axis=0) <= 0).all()
    best = np.sort(probabilities, axis=0)[::-1][: min(3, len(ids))]
    np.testing.assert_array_equal(scores[: len(best)], np.rint(255 * best).astype(np.uint8))
    assert set(np.unique(labels).tolist()) <= {i - 1 + base for i in ids}


@RELAXED
@given(predicted(), st.sampled_from(LabelBase))
def test_encoding_and_scattering_is_thresholding(pair: tuple[np.ndarray, list[int]], base: LabelBase) -> None:
    probabilities, ids = pair
    tensor = scatter_top3(*top3(probabilities, ids, base))
    order = np.argsort(-probabilities, axis=0, kind="stable")
    expected = np.zeros_like(tensor)
    for y in range(probabilities.shape[1]):
        for x in range(probabilities.shape[2]):
            for channel in order[:3, y, x]:
                code = np.rint(255 * probabilities[channel, y, x])
                expected[ids[channel] + base, y, x] = np.float32(code) / np.float32(255)
    np.testing.assert_array_equal(tensor, expected)


def test_a_worked_example() -> None:
    probabilities = np.array([0.1, 0.5, 0.15, 0.25], np.float32).reshape(4, 1, 1)
    labels, scores = top3(probabilities, [1, 2, 3, 150])
    assert labels.ravel().tolist() == [1, 149, 2]
    assert scores.ravel().tolist() == [128, 64, 38]
    tensor = scatter_top3(labels, scores)
    assert {int(c): round(float(tensor[c, 0, 0]) * 255) for c in np.flatnonzero(tensor)} == {2: 128, 3: 38, 150: 64}


def test_the_released_base_is_the_caller_s_choice() -> None:
    probabilities = np.ones((1, 1, 1), np.float32)
    assert top3(probabilities, [150], LabelBase.ZERO)[0].ravel().tolist() == [149] * 3
    assert top3(probabilities, [150], LabelBase.ONE)[0].ravel().tolist() == [150] * 3


def test_none_is_left_out() -> None:
    probabilities = np.array([0.7, 0.2, 0.1], np.float32).reshape(3, 1, 1)
    labels, scores = top3(probabilities, [0, 1, 2])
    assert labels.ravel().tolist() == [0, 1, 1]
    assert scores.ravel().tolist() == [51, 26, 26]


def test_equal_probabilities_keep_the_channels_order() -> None:
    assert top3(np.full((5, 1, 1), 0.2, np.float32), [9, 8, 7, 6, 5])[0].ravel().tolist() == [8, 7, 6]


def test_the_input_is_not_changed() -> None:
    probabilities = np.full((4, 2, 2), 0.25, np.float32)
    top3(probabilities, [1, 2, 3, 4])
    assert (probabilities == 0.25).all()


@pytest.mark.parametrize(
    ("shape", "ids", "message"),
    [
        ((2, 1, 1), [1], r"1 class ids need probabilities \(1, H, W\)"),
        ((2, 1), [1, 2], "H, W"),
        ((1, 1, 1), [151], r"1\.\.150"),
        ((1, 1, 1), [-1], r"1\.\.150"),
        ((1, 1, 1), [0], "no class"),
        ((0, 1, 1), [], "no class"),
    ],
)
def test_wrong_probabilities_are_refused(shape: tuple[int, ...], ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        top3(np.zeros(shape, np.float32), ids)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        top3(np.full((2, 1, 1), np.nan, np.float32), [1, 2])


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (np.zeros((1, 2, 2), np.uint8), np.zeros((1, 2, 2), np.uint8), r"\(3, H, W\)"),
        (np.zeros((3, 2, 2), np.uint8), np.zeros((3, 2, 1), np.uint8), r"\(3, H, W\)"),
        (np.zeros((3, 2, 2), np.float32), np.zeros((3, 2, 2), np.uint8), "nearest"),
        (np.full((3, 2, 2), 151, np.uint8), np.zeros((3, 2, 2), np.uint8), r"label 151 has no channel.*0\.\.150"),
        (np.full((3, 2, 2), -1), np.zeros((3, 2, 2), np.uint8), "label -1 has no channel"),
    ],
)
def test_wrong_codes_are_refused(labels: np.ndarray, scores: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scatter_top3(labels, scores)
