"""Rolling statistics of heartbeats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.metrics import Percentiles, Rate


def test_rate_counts_intervals():
    rate = Rate(window_s=5)
    assert rate.per_second(0) == 0
    for i in range(101):
        rate.add(i / 25)
    assert rate.per_second(4.0) == pytest.approx(25)


def test_rate_falls_when_nothing_comes():
    rate = Rate(window_s=5)
    for i in range(26):
        rate.add(i / 25)
    assert 0 < rate.per_second(3.0) < 25 / 2
    assert rate.per_second(7.0) == 0


def test_rate_is_right_beyond_its_limit():
    rate = Rate(window_s=5, limit=10)
    for i in range(1000):
        rate.add(i / 1000)
    assert rate.per_second(0.999) == pytest.approx(1000)


def test_percentiles():
    ages = Percentiles()
    assert ages.at(0, (50,)) is None
    for i in range(1, 101):
        ages.add(i / 100, i)
    assert ages.at(1.0, (0, 50, 95, 100)) == [1, 50, 95, 100]


def test_percentiles_forget():
    ages = Percentiles(window_s=10, limit=4)
    for i in range(8):
        ages.add(i, i)
    assert ages.at(8, (0,)) == [4]
    assert ages.at(16, (0, 100)) == [6, 7]
    assert ages.at(99, (50,)) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles_are_samples_in_order(values, percent):
    ages = Percentiles()
    for value in values:
        ages.add(0, value)
    low, here, high = ages.at(0, (0, percent, 100))
    assert (low, high) == (min(values), max(values)) and here in values
