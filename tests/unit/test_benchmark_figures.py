"""What a benchmark makes of measured values: percentiles, slopes, the search for a capacity, the figures of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import UserError
from tools.benchmark.figures import percentiles, slope, spread
from tools.benchmark.model_only import ModelOnly
from tools.benchmark.process import Usage
from tools.benchmark.report import efficiency_of, runs_of
from tools.benchmark.running import WARM_UP, FrameTimes, LabelTimes, Record, Sample, figures
from tools.benchmark.search import largest
from tools.benchmark.soak import WARM_UP as SOAK_WARM_UP
from tools.benchmark.soak import soak_figures
from tools.benchmark.streams import Streams

SECOND = 1_000_000_000
MS = 1_000_000


@given(st.integers(0, 70), st.integers(1, 64))
def test_search_finds_the_largest_and_asks_for_no_number_twice(capacity, limit):
    asked = []

    def holds(number):
        asked.append(number)
        return number <= capacity

    assert largest(holds, limit) == min(capacity, limit)
    assert len(set(asked)) == len(asked)
    assert all(1 <= number <= limit for number in asked)


def test_search_doubles_then_halves():
    asked = []
    assert largest(lambda number: asked.append(number) or number <= 5, 256) == 5
    assert asked == [1, 2, 4, 8, 6, 5]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_percentiles_are_values_of_the_sample_in_order(values):
    found = percentiles(values, digits=9)
    assert found.p50 <= found.p95 <= found.p99
    assert {found.p50, found.p95, found.p99} <= {round(value, 9) for value in values}


def test_percentiles_by_nearest_rank():
    found = percentiles(list(range(1, 101)))
    assert (found.p50, found.p95, found.p99) == (50, 95, 99)
    assert percentiles([7.0]).p99 == 7


def test_spread():
    found = spread([3, 1, 10])
    assert (found.median, found.low, found.high) == (3, 1, 10)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=30))
def test_slope_is_that_of_the_least_squares(points):
    x, y = np.array(points, float).T
    if np.ptp(x) == 0:
        assert slope(points) == 0
    else:
        assert slope(points) == pytest.approx(np.polyfit(x, y, 1)[0], abs=1e-6)


# ------------------------------------------------------------------ records of runs


def usage(cpu_s, memory_mb):
    return Usage(cpu_s, memory_mb, memory_mb + 5)


def record(count=110, *, fps=50, age_ms=20, sources=("a",), grows_mb=0.0):
    """A run that starts at 0, has its first label after 2 s, and takes 10 ms of CPU time a label."""
    found = Record(len(sources), started_ns=0)
    for seq in range(count):
        published = 2 * SECOND + seq * SECOND // fps
        found.labels += [LabelTimes(name, seq, seq, published - age_ms * MS, published, seq // 10) for name in sources]
        found.samples.append(
            Sample(len(found.labels), published, usage(0.01 * len(found.labels), 200 + grows_mb * seq))
        )
    return found


def test_a_run_is_measured_behind_its_warm_up():
    slow_start = record()
    for number, label in enumerate(slow_start.labels[:WARM_UP]):
        slow_start.labels[number] = replace(label, captured_ns=label.captured_ns - SECOND)
    run = figures(slow_start)
    assert run.frames == 110
    assert run.fps == pytest.approx(50)
    assert (run.latency_ms.p50, run.latency_ms.p99) == (20, 20)
    assert run.first_label_s == 2
    assert run.dropped == 10
    assert run.cpu_ms_per_frame == pytest.approx(10)
    assert run.cpu_cores == pytest.approx(0.5)
    assert (run.memory_mb, run.peak_mb) == (200, 205)
    assert run.annotated is None


def test_sources_are_counted_together():
    run = figures(record(sources=("a", "b")))
    assert run.frames == 220
    assert run.fps == pytest.approx(100, rel=0.02)
    assert run.dropped == 20


def test_annotated_frames_are_as_old_as_their_labels_frame():
    seen = record()
    labels = seen.labels[::2]
    seen.frames = [FrameTimes("a", label.seq, label.published_ns + 5 * MS) for label in labels]
    annotated = figures(seen).annotated
    assert annotated.frames == 55
    assert annotated.fps == pytest.approx(25)
    assert annotated.latency_ms.p95 == 25


def test_without_a_word_of_the_system_the_figures_are_absent():
    seen = record()
    seen.samples = []
    run = figures(seen)
    assert run.cpu_ms_per_frame is run.cpu_cores is run.memory_mb is run.peak_mb is None
    assert runs_of([run, run]).peak_mb is None


@pytest.mark.parametrize("seen", [record(WARM_UP), Record(1, 0), Record(2, 0, record().labels)])
def test_too_few_labels_are_named(seen):
    with pytest.raises(UserError, match="longer recording"):
        figures(seen)


def test_runs_together_have_a_spread():
    runs = runs_of([figures(record(fps=fps)) for fps in (40, 50, 100)])
    assert (runs.repeats, runs.frames) == (3, 110)
    assert (runs.fps.median, runs.fps.low, runs.fps.high) == pytest.approx((50, 40, 100), rel=0.01)


def test_soak_sees_a_leak_and_its_absence():
    count = SOAK_WARM_UP + 2000
    steady, leaking = soak_figures(record(count)), soak_figures(record(count, grows_mb=0.01))
    assert (steady.growth_mb, steady.mb_per_1000_frames) == (0, 0)
    assert steady.frames == 2000
    assert leaking.mb_per_1000_frames == pytest.approx(10)
    assert leaking.growth_mb == pytest.approx(
        18, rel=0.01
    )  # nine tenths of 20: from the middle of the first to that of the last
    assert steady.first_half_ms == steady.second_half_ms


def test_a_soak_that_is_too_short_says_so():
    with pytest.raises(UserError, match="--soak"):
        soak_figures(record(SOAK_WARM_UP + 3))


@pytest.mark.parametrize(
    ("slowest_fps", "p95_ms", "carried"), [(29, 90, True), (29, 101, False), (20, 90, False), (0, None, False)]
)
def test_a_stream_is_carried_if_it_is_labelled_and_in_time(slowest_fps, p95_ms, carried):
    latency = None if p95_ms is None else percentiles([p95_ms])
    assert Streams(3, 30, slowest_fps, latency, 0, None, None).carried(100) is carried


def test_efficiency():
    found = efficiency_of(85, cpu_ms=20, cores=2, model_only=ModelOnly(spread([100.0]), 1))
    assert (found.bound_fps, found.percent, found.percent_of_model_only) == (100, 85, 85)
