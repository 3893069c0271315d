"""The exponential smoother: properties that hold for any observations, and the promises of its docstring."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import ConfigError
from models.smoothing import SMOOTHERS
from models.smoothing.base import Belief, Observation, Smoother

CLASSES = 4
MS = Fraction(1, 1000)


def one_hot(scene: int, p: float = 0.9) -> np.ndarray:
    probabilities = np.full(CLASSES, (1 - p) / (CLASSES - 1), np.float32)
    probabilities[scene] = p
    return probabilities


def feed(
    smoother: Smoother, scenes: list[int], *, step_ms: int = 40, start_ms: int = 0, cut_at: int | None = None
) -> list[Belief]:
    return [
        smoother.update(Observation(one_hot(scene), start_ms + i * step_ms, MS, epoch=0, cut=i == cut_at))
        for i, scene in enumerate(scenes)
    ]


def exponential(**params: float) -> Smoother:
    return SMOOTHERS.build("exponential", params, unknown_threshold=0.3)


distributions = st.lists(st.floats(0.01, 1), min_size=CLASSES, max_size=CLASSES).map(
    lambda values: (np.array(values) / sum(values)).astype(np.float32)
)
streams = st.lists(st.tuples(distributions, st.integers(1, 500), st.booleans()), min_size=1, max_size=40)


@given(streams)
@settings(deadline=None)
def test_belief_is_a_distribution_and_dwell_counts_from_the_last_change(stream):
    smoother, pts, since = exponential(), 0, 0
    for probabilities, step, cut in stream:
        pts += step
        belief = smoother.update(Observation(probabilities, pts, MS, epoch=0, cut=cut))
        since = pts if belief.changed else since
        assert belief.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert belief.since_pts == since
        assert belief.dwell_s == pytest.approx((pts - since) / 1000, abs=1e-6)
        assert belief.held == (belief.probabilities[belief.scene] < belief.probabilities.max())
        assert belief.p == pytest.approx(float(belief.probabilities[belief.scene]), abs=1e-6)


@given(streams, st.integers(-(10**9), 10**9))
@settings(deadline=None)
def test_only_differences_of_time_matter(stream, offset):
    first, second, pts = exponential(), exponential(), 0
    for probabilities, step, cut in stream:
        pts += step
        here = first.update(Observation(probabilities, pts, MS, epoch=0, cut=cut))
        there = second.update(Observation(probabilities, pts + offset, MS, epoch=0, cut=cut))
        np.testing.assert_allclose(here.probabilities, there.probabilities, atol=1e-4)


@given(distributions, st.integers(1, 30))
@settings(deadline=None)
def test_a_frozen_picture_changes_nothing(probabilities, frames):
    smoother = exponential()
    for i in range(frames):
        belief = smoother.update(Observation(probabilities, i * 40, MS, epoch=0))
        np.testing.assert_allclose(belief.probabilities, probabilities, atol=1e-5)
        assert belief.changed == (i == 0)


@given(streams, st.permutations(range(CLASSES)))
@settings(deadline=None)
def test_no_scene_is_preferred(stream, order):
    first, second, pts = exponential(), exponential(), 0
    for probabilities, step, cut in stream:
        pts += step
        here = first.update(Observation(probabilities, pts, MS, epoch=0, cut=cut))
        there = second.update(Observation(probabilities[list(order)], pts, MS, epoch=0, cut=cut))
        np.testing.assert_allclose(here.probabilities[list(order)], there.probabilities, atol=1e-6)


def test_the_frame_rate_does_not_matter():
    slow, fast = exponential(), exponential()
    feed(slow, [0] * 10 + [1] * 10, step_ms=100)
    feed(fast, [0] * 50 + [1] * 50, step_ms=20)
    end = [s.update(Observation(one_hot(1), 2100, MS, epoch=0)).probabilities for s in (slow, fast)]
    np.testing.assert_allclose(end[0], end[1], atol=0.05)


def test_a_single_odd_frame_does_not_change_the_label():
    beliefs = feed(exponential(), [0] * 20 + [1] + [0] * 20)
    assert [b.changed for b in beliefs].count(True) == 1
    assert {b.scene for b in beliefs} == {0}


def test_a_lasting_change_is_held_first_and_then_confirmed_within_two_seconds():
    beliefs = feed(exponential(), [0] * 50 + [1] * 50)
    change = next(i for i in range(50, 100) if beliefs[i].changed)
    assert any(b.held for b in beliefs[50:change])
    assert (change - 50) * 0.04 <= 2.0
    assert beliefs[-1].scene == 1


def test_a_cut_loosens_the_label_at_once():
    with_cut = feed(exponential(), [0] * 50 + [1] * 10, cut_at=50)
    without = feed(exponential(), [0] * 50 + [1] * 10)
    assert with_cut[50].changed
    assert with_cut[50].scene == 1
    assert without[50].scene == 0


def test_a_cut_to_the_same_scene_changes_nothing():
    beliefs = feed(exponential(), [0] * 50 + [0] * 10, cut_at=50)
    assert not any(b.changed for b in beliefs[1:])
    assert beliefs[-1].since_pts == 0


def test_a_new_epoch_starts_from_nothing():
    smoother = exponential()
    feed(smoother, [0] * 50)
    belief = smoother.update(Observation(one_hot(2), 0, MS, epoch=1))
    assert (belief.scene, belief.changed, belief.dwell_s) == (2, True, 0.0)
    np.testing.assert_allclose(belief.probabilities, one_hot(2), atol=1e-6)


def test_unknown_follows_the_threshold_with_hysteresis():
    smoother = exponential(unknown_threshold=0.5, unknown_margin=0.1, time_constant_s=0.001)
    values = [0.6, 0.45, 0.55, 0.65]
    unknown = [smoother.update(Observation(one_hot(0, p), 1000 * i, MS, epoch=0)).unknown for i, p in enumerate(values)]
    assert unknown == [False, True, True, False]


def test_a_scene_that_is_not_believed_replaces_nothing():
    smoother = exponential(unknown_threshold=0.5, time_constant_s=0.1)
    feed(smoother, [0] * 20)
    beliefs = [smoother.update(Observation(one_hot(1, 0.4), 800 + 40 * i, MS, epoch=0)) for i in range(50)]
    assert {b.scene for b in beliefs} == {0}
    assert beliefs[-1].unknown
    assert beliefs[-1].held


def test_the_same_observations_give_the_same_beliefs():
    scenes = [0, 1, 1, 2, 0, 3] * 10
    assert [b.scene for b in feed(exponential(), scenes)] == [b.scene for b in feed(exponential(), scenes)]


def test_an_unknown_parameter_is_named_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"tau.*time_constant_s"):
        SMOOTHERS.build("exponential", {"tau": 1})
