"""What every smoother promises, whatever its method."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from config.errors import ConfigError
from models.smoothing import SMOOTHERS
from models.smoothing.base import Observation

MS = Fraction(1, 1000)


@pytest.fixture(params=SMOOTHERS.names())
def kind(request) -> str:
    return request.param


def observations(seed: int, count: int = 60) -> list[Observation]:
    rng = np.random.default_rng(seed)
    made, pts = [], 0
    for i in range(count):
        pts += int(rng.integers(1, 200))
        probabilities = rng.dirichlet(np.full(5, 0.3)).astype(np.float32)
        made.append(Observation(probabilities, pts, MS, epoch=i // 25, cut=bool(rng.random() < 0.05)))
    return made


def test_beliefs_are_distributions_with_a_stable_scene(kind):
    smoother = SMOOTHERS.build(kind, {}, unknown_threshold=0.3)
    for observation in observations(1):
        belief = smoother.update(observation)
        assert belief.probabilities.shape == (5,)
        assert belief.probabilities.dtype == np.float32
        assert belief.probabilities.sum() == pytest.approx(1, abs=1e-4)
        assert 0 <= belief.scene < 5
        assert belief.dwell_s >= 0
        assert belief.since_pts <= observation.pts or observation.epoch > 0


def test_a_new_epoch_forgets(kind):
    fresh, used = (SMOOTHERS.build(kind, {}, unknown_threshold=0.3) for _ in range(2))
    for observation in observations(2, 20):
        used.update(observation)
    later = Observation(np.float32([0.1, 0.6, 0.1, 0.1, 0.1]), 5, MS, epoch=9)
    first, second = fresh.update(later), used.update(later)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert (second.scene, second.since_pts, second.dwell_s, second.changed) == (1, 5, 0.0, True)


def test_the_same_observations_give_the_same_beliefs(kind):
    runs = [
        [smoother.update(o) for o in observations(3)]
        for smoother in (SMOOTHERS.build(kind, {}, unknown_threshold=0.3) for _ in range(2))
    ]
    for here, there in zip(*runs, strict=True):
        np.testing.assert_array_equal(here.probabilities, there.probabilities)
        assert (here.scene, here.changed, here.held, here.unknown) == (
            there.scene,
            there.changed,
            there.held,
            there.unknown,
        )


def test_it_describes_itself(kind):
    description = SMOOTHERS.build(kind, {}, unknown_threshold=0.3).describe()
    assert description["kind"] == kind


def test_unknown_parameters_are_refused(kind):
    with pytest.raises(ConfigError, match="no_such_key"):
        SMOOTHERS.build(kind, {"no_such_key": 1}, unknown_threshold=0.3)
