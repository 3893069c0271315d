"""Measures of steadiness against values worked out by hand, on the walkthrough of `test_walkthrough_measures`."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from truth_parts import span, transition

from models.smoothing.base import Observation
from models.transitions import Moment, Transition
from tools.steadiness.cuts import CutTally, tally_cuts
from tools.steadiness.measures import Delay, Steadiness, Walk, total
from tools.steadiness.methods import Case, equal_delay, in_a_row, measured, raw_labels, smoothed
from tools.steadiness.report import compare
from tools.steadiness.tuning import GRIDS, score, tune
from tools.walkthrough.truth import SegmentTruth, ShotTruth, Truth

NAMES = ("coast", "kitchen")


# Ten ticks a second, two frames: coast, a dissolve of 2 s to a kitchen, a hard cut to a coast. 15 s in all.
TRUTH = Truth(
    version=1,
    seed=0,
    fps=(2, 1),
    size=(64, 48),
    time_base=(1, 10),
    frames=30,
    segments=(
        SegmentTruth(scene="coast", **span(0, 50)),
        SegmentTruth(scene="kitchen", **span(50, 100)),
        SegmentTruth(scene="coast", **span(100, 150)),
    ),
    shots=(
        ShotTruth(picture="a", scene="coast", **span(0, 40)),
        ShotTruth(picture="b", scene="kitchen", **span(60, 100)),
        ShotTruth(picture="c", scene="coast", **span(100, 150)),
    ),
    transitions=(transition("dissolve", 40, 60, "coast", "kitchen"), transition("cut", 100, 100, "kitchen", "coast")),
)
PTS = np.arange(0, 150, 5)
RIGHT = "cccccccc cckk kkkkkkkk cccccccccc"


def labels(text: str) -> np.ndarray:
    return np.array(["ck".index(letter) for letter in text.replace(" ", "")])


def measure(text: str, raw: str = RIGHT) -> Steadiness:
    return Walk(TRUTH, PTS, labels(raw), NAMES).measure(labels(text))


def test_all_right():
    figures = measure(RIGHT).figures()
    assert (figures["accuracy"], figures["flips_per_minute"], figures["segment_f1"]) == (1, 0, 1)
    assert (figures["delay_p50_s"], figures["changes"], figures["missed"], figures["left_out"]) == (0, 2, 0, 0)


def test_a_label_that_is_late():
    found = measure("cccccccc cccc ckkkkkkk kkcccccccc")
    assert found.delays == (Delay("dissolve", 1.5, True), Delay("cut", 1.0, True))
    assert found.flips == 0
    assert (found.known_s, found.right_s) == (13.0, 11.5)
    figures = found.figures()
    assert (figures["cut_delay_p95_s"], figures["other_delay_p95_s"]) == (1.0, 1.5)
    # The last coast starts 1.0 s late, which is allowed; the kitchen, and so the end of the first coast, 1.5 s.
    assert (found.matched, found.true_segments, found.said_segments) == (1, 3, 3)
    assert figures["segment_f1"] == pytest.approx(1 / 3, abs=1e-6)


def test_flips_are_the_changes_that_no_true_one_pays_for():
    assert measure("cckccccc cckk kkkkkkkk cccccccccc").flips == 2
    assert measure("cccccccc ckck kkkkkkkk cccccccccc").flips == 2  # to the kitchen, back, and again
    assert measure("cccccccc cccc cccccccc cccccccccc").flips == 0  # a missed change does not pay for another
    assert measure("cccccccc cccc cccccccc ckcccccccc").flips == 1
    assert measure("cccccccc cckk kkkkkkkk kckccccccc").figures()["flips_per_minute"] == pytest.approx(2 * 60 / 15)


def test_a_missed_change_is_as_late_as_can_be():
    found = measure("cccccccc cccc cccccccc cccccccccc")
    assert found.delays == (Delay("dissolve", 5.0, True), Delay("cut", 0.0, True))
    assert found.missed == 1


def test_segments_that_the_model_does_not_know_are_left_out():
    found = measure(RIGHT, raw="cccccccc cckk kccccccc cccccccccc")
    assert [delay.kind for delay in found.delays] == ["cut"]
    assert found.figures()["left_out"] == 1


def test_videos_add_up():
    one, other = measure(RIGHT), measure("cccccccc cccc cccccccc cccccccccc")
    both = total([one, other])
    assert both.known_s == one.known_s + other.known_s
    assert len(both.delays) == 4
    assert both.figures()["missed"] == 1
    assert set(total([]).figures().values()) == {0, None}


# --------------------------------------------------------------------- methods


def case(raw: str, p: float = 0.8) -> Case:
    rows = np.where(labels(raw)[:, None] == np.arange(2), p, 1 - p).astype(np.float32)
    rows += np.arange(len(PTS), dtype=np.float32)[:, None] * np.float32([1e-5, -1e-5])  # no two frames are the same
    observations = [
        Observation(row, int(t), Fraction(1, 10), epoch=0, cut=int(t) == 100) for row, t in zip(rows, PTS, strict=True)
    ]
    walk = Walk(TRUTH, PTS, labels(raw), NAMES)
    return Case(walk, observations, CutTally(hard=1, hard_found=1, hard_said=1), labels(raw))


NOISY = "cckccccc cckk kkckkkkk cckccccccc"


def test_n_in_a_row():
    assert in_a_row(1)(case(NOISY)).tolist() == labels(NOISY).tolist()
    assert in_a_row(2)(case(NOISY)).tolist() == labels("cccccccc ccck kkkkkkkk kccccccccc").tolist()
    assert in_a_row(50)(case(NOISY)).tolist() == [0] * 30


def test_an_n_that_is_as_slow():
    assert equal_delay([case(NOISY)], 0.0) == 1
    assert equal_delay([case(NOISY)], 0.5) == 2


def test_our_smoothers_are_steadier_than_raw():
    raw = measured(raw_labels, [case(NOISY)])
    for kind in GRIDS:
        found = measured(smoothed(kind, {}, 0.0), [case(NOISY)])
        assert found.flips < raw.flips
        assert found.right_s >= raw.right_s - 2


def test_the_comparison_has_all_methods():
    result = compare([case(NOISY)], SimpleNamespace(kind="exponential", params={"confirm_s": 0.0}), 0.0)
    names = list(result["methods"])
    assert names[:2] == ["raw", "3 in a row"]
    assert names[2].endswith("(as slow)")
    assert names[3:] == ["exponential", "hidden_markov", "hidden_markov, offline"]
    assert result["cuts"]["hard_recall"] == 1


def test_tuning_never_ends_worse_than_it_began(monkeypatch):
    monkeypatch.setitem(GRIDS, "exponential", {"confirm_s": (0.0, 2.0), "margin": (0.05, 0.3)})
    trials = []
    best = tune("exponential", [case(NOISY)], 0.0, trials.append)
    assert best.score == max(trial.score for trial in trials) >= trials[0].score
    assert trials[0].params == {}
    assert len({tuple(sorted(trial.params.items())) for trial in trials}) == len(trials)


def test_the_score_asks_for_accuracy_and_punishes_what_is_late():
    raw = measure(NOISY)
    assert score(measure(RIGHT), raw) > score(raw, raw)
    late = measure("cccccccc cckk kkkkkkkk kkkkkkkccc")
    quick = measure("cccccccc cckk kkkkkkkk cccccckkkk")
    assert score(quick, raw) > score(late, raw)


# ------------------------------------------------------------------------ cuts


def at(frame: int) -> Moment:
    return Moment(frame, int(PTS[frame]), float(PTS[frame]) / 10)


def test_finds_are_compared_with_the_truth():
    found: list[Transition | None] = [None] * len(PTS)
    found[13] = Transition("dissolve", at(8), at(12))
    found[18] = Transition("dissolve", at(15), at(17))  # there is none
    found[20] = Transition("hard", at(20), at(20))
    found[24] = Transition("hard", at(24), at(24))  # there is none
    assert tally_cuts(found, PTS, TRUTH) == CutTally(1, 1, 1, 1, 2, 1, 2, 1)
    figures = (tally_cuts(found, PTS, TRUTH) + CutTally(hard=1)).figures()
    assert (figures["hard_recall"], figures["hard_precision"]) == (0.5, 0.5)


def test_a_hard_cut_on_the_next_frame_is_not_found():
    found: list[Transition | None] = [None] * len(PTS)
    found[21] = Transition("hard", at(21), at(21))
    assert (tally_cuts(found, PTS, TRUTH).hard_found, tally_cuts(found, PTS, TRUTH).hard_wrong) == (0, 1)
