"""The hidden Markov model of scenes: what must hold of any chain, and sums over all paths worked out one by one."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config.errors import ConfigError
from models.hindsight import marginals, smooth_offline, viterbi
from models.scene_chain import Evidence, Pace, SceneChain, Step, learn_transitions
from models.smoothing import SMOOTHERS
from models.smoothing.base import Observation
from models.smoothing.hidden_markov import Params, updated

RELAXED = settings(deadline=None, max_examples=50)  # a busy machine is no failure
MS = Fraction(1, 1000)
STATES = 3

distributions = st.lists(st.floats(0.01, 1), min_size=STATES, max_size=STATES).map(
    lambda values: np.array(values) / sum(values)
)
jumps = st.none() | st.lists(distributions, min_size=STATES, max_size=STATES).map(np.stack)
chains = st.builds(SceneChain, distributions, st.floats(0.5, 60), st.floats(0, 1), jumps)
steps = st.builds(Step, st.floats(0, 5), st.just(1.0), st.booleans())
evidence = st.lists(st.floats(-6, 0), min_size=STATES, max_size=STATES).map(np.array)
sequences = st.lists(st.tuples(steps, evidence), min_size=1, max_size=4)


# ----------------------------------------------------------------------- chain


@RELAXED
@given(chains, distributions, st.floats(0, 200), st.floats(0, 1))
def test_two_steps_without_a_frame_do_what_one_does(chain, belief, seconds, share):
    whole = chain.after(belief, seconds)
    parts = chain.after(chain.after(belief, share * seconds), (1 - share) * seconds)
    np.testing.assert_allclose(parts, whole, atol=1e-9)
    assert whole.sum() == pytest.approx(1)


@RELAXED
@given(chains, distributions, st.floats(0, 20), st.booleans())
def test_the_matrix_does_what_the_chain_does(chain, belief, seconds, cut):
    matrix = chain.matrix(seconds, cut=cut)
    np.testing.assert_allclose(belief @ matrix, chain.after(belief, seconds, cut=cut), atol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_jumps_that_forget_are_jumps_to_the_prior():
    prior = np.array([0.2, 0.3, 0.5])
    short, long = SceneChain(prior, 10, 0.3), SceneChain(prior, 10, 0.3, np.tile(prior, (3, 1)))
    for seconds in (0.0, 0.04, 3.0, 500.0):
        np.testing.assert_allclose(short.matrix(seconds, cut=True), long.matrix(seconds, cut=True), atol=1e-9)


def test_no_time_changes_nothing_and_much_time_leaves_the_prior():
    chain = SceneChain(np.array([0.2, 0.3, 0.5]), 10, 0.3)
    np.testing.assert_allclose(chain.matrix(0), np.eye(3))
    np.testing.assert_allclose(chain.matrix(1e6), np.tile(chain.prior, (3, 1)))


# ------------------------------------------------------- all paths, one by one


def all_paths(chain: SceneChain, sequence) -> dict[tuple[int, ...], float]:
    """The joint probability of each path of states and the evidence."""
    matrices = [chain.matrix(step.seconds, cut=step.cut) for step, _ in sequence]
    found = {}
    for path in product(range(STATES), repeat=len(sequence)):
        p = chain.prior[path[0]]
        for k, state in enumerate(path):
            p *= np.exp(sequence[k][1][state]) * (matrices[k][path[k - 1], state] if k else 1)
        found[path] = p
    return found


@RELAXED
@given(chains, sequences)
def test_forward_backward_is_the_sum_over_all_paths(chain, sequence):
    paths = all_paths(chain, sequence)
    wanted = np.zeros((len(sequence), STATES))
    for path, p in paths.items():
        wanted[np.arange(len(path)), path] += p
    wanted /= wanted.sum(axis=1, keepdims=True)
    found = marginals(chain, [step for step, _ in sequence], np.stack([e for _, e in sequence]))
    np.testing.assert_allclose(found, wanted, atol=1e-9)


@RELAXED
@given(chains, sequences)
def test_viterbi_finds_the_most_probable_path(chain, sequence):
    paths = all_paths(chain, sequence)
    path = viterbi(chain, [step for step, _ in sequence], np.stack([e for _, e in sequence]))
    assert paths[tuple(path.tolist())] == pytest.approx(max(paths.values()), rel=1e-9)


@RELAXED
@given(chains, sequences)
def test_the_filter_is_the_sum_over_all_paths_so_far_and_the_last_marginal(chain, sequence):
    belief = updated(chain.prior, sequence[0][1], 1.0)
    for step, e in sequence[1:]:
        belief = updated(chain.after(belief, step.seconds, cut=step.cut), e, 1.0)
    wanted = np.zeros(STATES)
    for path, p in all_paths(chain, sequence).items():
        wanted[path[-1]] += p
    np.testing.assert_allclose(belief, wanted / wanted.sum(), atol=1e-9)
    last = marginals(chain, [step for step, _ in sequence], np.stack([e for _, e in sequence]))[-1]
    np.testing.assert_allclose(belief, last, atol=1e-9)


# -------------------------------------------------------------------- evidence


def observe(probabilities, at_ms: int = 0, **more) -> Observation:
    return Observation(np.array(probabilities, np.float32), at_ms, MS, epoch=0, **more)


def test_a_frame_at_the_threshold_speaks_as_much_for_unknown_as_for_its_best_scene():
    told = Evidence(np.array([0.5, 0.5]), 0.75, 1e-3)
    at, above, under = (told.log(observe([0.8, 0.2], p_unknown=p)) for p in (0.25, 0.1, 0.5))
    assert at == pytest.approx([0, np.log(0.25), 0], abs=1e-6)
    assert above[0] > above[2] and under[0] < under[2]
    assert told.log(observe([0.75, 0.25])) == pytest.approx([0, np.log(1 / 3), 0], abs=1e-6)  # no p(unknown)


def test_a_frequent_scene_needs_more_to_be_believed():
    told = Evidence(np.array([0.9, 0.1]), 0.0, 1e-6)
    assert told.log(observe([0.9, 0.1]))[:2] == pytest.approx([0, 0], abs=1e-6)


def test_no_frame_rules_a_scene_out():
    log = Evidence(np.array([0.5, 0.5]), 0.5, 1e-3).log(observe([1.0, 0.0], p_unknown=0.5))
    assert log == pytest.approx([0, np.log(1e-3), 0], abs=1e-6)


def test_frames_of_a_second_weigh_alike_at_any_rate():
    for rate in (5, 10, 50):
        pace = Pace(0.5)
        weights = [pace.step(observe([i / 100, 1 - i / 100], i * 1000 // rate)).weight for i in range(rate + 1)]
        assert weights[0] == 1
        assert sum(weights[1:]) == pytest.approx(2)


def test_repeated_frames_have_no_news_and_their_time_counts_with_the_next():
    pace = Pace(0.5)
    assert pace.step(observe([0.4, 0.6])).weight == 1
    assert pace.step(observe([0.4, 0.6], 100)) is None
    assert pace.step(observe([0.4, 0.6], 200)) is None
    assert pace.step(observe([0.5, 0.5], 300)) == Step(0.3, pytest.approx(0.6), False)
    assert pace.step(observe([0.5, 0.5], 400, cut=True)) == Step(pytest.approx(0.1), 1.0, True)


# -------------------------------------------------------------------- learning


def test_learning_finds_what_was_drawn():
    rng = np.random.default_rng(0)
    wanted = np.array([[0, 0.8, 0.2], [0.5, 0, 0.5], [1, 0, 0]])
    path, times, now, state = [], [], 0.0, 0
    for _ in range(3000):
        stay = rng.exponential(4.0)
        at = np.arange(now, now + stay, 0.1)
        path += [state] * len(at)
        times += at.tolist()
        now, state = now + stay, int(rng.choice(3, p=wanted[state]))
    mean_stay_s, jumps = learn_transitions([path], [times], 3)
    assert mean_stay_s == pytest.approx(4.0, rel=0.1)
    np.testing.assert_allclose(jumps, wanted, atol=0.05)


def test_learning_from_nothing_is_an_error():
    with pytest.raises(ValueError, match="some length"):
        learn_transitions([[0]], [[1.0]], 2)


# ------------------------------------------------------------------- smoothers


def build(**params):
    return SMOOTHERS.build("hidden_markov", params, unknown_threshold=0.3)


streams = st.lists(
    st.tuples(distributions, st.integers(1, 500), st.booleans(), st.floats(0.01, 0.99)), min_size=1, max_size=30
)


def observations(stream) -> list[Observation]:
    made, pts = [], 0
    for probabilities, step, cut, unknown in stream:
        pts += step
        made.append(observe(probabilities, pts, cut=cut, p_unknown=unknown))
    return made


# Offline, the last frame's first and third scene are alike in float32 and apart in float64.
TIED = [
    (np.array([0.42574257, 0.14851485, 0.42574257]), 1, False, 0.5),
    (np.array([0.20093458, 0.59813084, 0.20093458]), 1, False, 0.5),
]


@RELAXED
@example(TIED)
@given(streams)
def test_beliefs_online_and_offline_are_distributions_and_agree_at_the_end(stream):
    frames = observations(stream)
    smoother = build()
    online, offline = [smoother.update(frame) for frame in frames], smooth_offline(frames, Params(), 0.3)
    for belief in (*online, *offline):
        assert belief.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert belief.held == (belief.probabilities[belief.scene] < belief.probabilities.max())
        assert belief.p == pytest.approx(float(belief.probabilities[belief.scene]), abs=1e-6)
        assert 0 <= belief.p_unknown <= 1
    np.testing.assert_allclose(online[-1].probabilities, offline[-1].probabilities, atol=1e-5)
    assert online[-1].p_unknown == pytest.approx(offline[-1].p_unknown, abs=1e-6)


@RELAXED
@given(streams, st.permutations(range(STATES)))
def test_no_scene_is_preferred(stream, order):
    order = list(order)
    first, second = build(), build()
    for frame in observations(stream):
        turned = observe(frame.probabilities[order], frame.pts, cut=frame.cut, p_unknown=frame.p_unknown)
        here, there = first.update(frame), second.update(turned)
        np.testing.assert_allclose(here.probabilities[order], there.probabilities, atol=1e-5)
        assert here.p_unknown == pytest.approx(there.p_unknown, abs=1e-6)


@RELAXED
@given(distributions, st.integers(1, 50))
def test_a_frozen_picture_does_not_make_confidence_grow(probabilities, frames):
    smoother = build()
    smoother.update(observe([0.3, 0.3, 0.4], 0))
    first = smoother.update(observe(probabilities, 40))
    for i in range(frames):
        belief = smoother.update(observe(probabilities, 80 + 40 * i))
        np.testing.assert_array_equal(belief.probabilities, first.probabilities)


@RELAXED
@given(streams, distributions)
def test_a_new_epoch_resets(stream, probabilities):
    used, fresh = build(), build()
    for frame in observations(stream):
        used.update(frame)
    later = Observation(probabilities.astype(np.float32), 0, MS, epoch=1)
    here, there = used.update(later), fresh.update(later)
    np.testing.assert_array_equal(here.probabilities, there.probabilities)
    assert here.changed and here.dwell_s == 0


def peak(scene: int, p: float = 0.9) -> list[float]:
    return [p if i == scene else (1 - p) / 3 for i in range(4)]


def feed(smoother, scenes, cut_at=None, p=0.9):
    # No two frames are quite the same, as of a real camera.
    return [
        smoother.update(observe(peak(scene, p - 1e-4 * (i % 7)), 40 * i, cut=i == cut_at))
        for i, scene in enumerate(scenes)
    ]


def test_another_scene_is_followed_within_two_seconds_and_sooner_after_a_cut():
    delays = []
    for cut in (50, None):
        beliefs = feed(build(), [0] * 50 + [1] * 50, cut_at=cut)
        delays.append(0.04 * next(i for i in range(50) if beliefs[50 + i].scene == 1))
    assert delays[0] < 0.5 < delays[1] < 2


def test_a_cut_to_a_scene_that_is_surely_another_is_followed_at_once():
    assert feed(build(), [0] * 50 + [1] * 5, cut_at=50, p=0.99)[50].scene == 1


def test_a_cut_widens_the_belief_and_does_not_forget():
    """A frame that does not decide anything, once with a cut before it."""
    beliefs = []
    for cut in (False, True):
        smoother = build()
        feed(smoother, [0] * 50)
        beliefs.append(smoother.update(observe([0.3, 0.3, 0.2, 0.2], 2000, cut=cut)))
    assert 0.25 < beliefs[1].probabilities[0] < beliefs[0].probabilities[0]
    assert not beliefs[1].changed


def test_a_few_odd_frames_do_not_change_the_label():
    assert {belief.scene for belief in feed(build(), [0] * 30 + [1] * 3 + [0] * 30)} == {0}


def test_looking_ahead_puts_a_change_where_it_is():
    frames = [observe(peak(int(i >= 50), 0.8 - 1e-4 * (i % 7)), 40 * i) for i in range(100)]
    beliefs = smooth_offline(frames, Params(), 0.3)
    assert [i for i, belief in enumerate(beliefs) if belief.changed] == [0, 50]
    assert beliefs[-1].since_pts == 2000


def test_unknown_is_believed_after_some_frames_and_left_again():
    smoother = SMOOTHERS.build("hidden_markov", {}, unknown_threshold=0.7)
    said = []
    for i in range(150):
        unknown = 0.95 if 50 <= i < 100 else 0.02
        said.append(smoother.update(observe(peak(0, 0.9 - 1e-4 * (i % 7)), 40 * i, p_unknown=unknown)).unknown)
    assert not any(said[:50]) and not said[149]
    assert said[99]
    assert sum(a != b for a, b in pairwise(said)) == 2


@pytest.mark.parametrize(("p", "follows"), [(0.9, True), (0.4, False)])
def test_a_doubtful_picture_changes_the_label_only_on_near_certainty(p, follows):
    smoother = SMOOTHERS.build("hidden_markov", {"doubtful_margin": 0.9}, unknown_threshold=0.7)
    for i in range(50):
        smoother.update(observe(peak(0, 0.9 - 1e-4 * (i % 7)), 40 * i, p_unknown=0.02))
    for i in range(50, 100):  # 3 scenes: with 0.4 the others have 0.3 each
        belief = smoother.update(observe(peak(1, p - 1e-4 * (i % 7)), 40 * i, p_unknown=0.95))
    assert belief.unknown
    assert (belief.scene == 1) is follows


@pytest.mark.parametrize(
    ("params", "hint"),
    [
        ({"jumps": [[0.5, 0.4], [0.5, 0.5]]}, "sum to 1"),
        ({"jumps": [[1.0], [1.0]]}, "as many columns"),
        ({"scene_priors": [0.5, 0.6]}, "sum to 1"),
        ({"mean_stay_s": 0}, "mean_stay_s"),
    ],
)
def test_parameters_that_make_no_sense(params, hint):
    with pytest.raises(ConfigError, match=hint):
        build(**params)


def test_parameters_for_another_number_of_scenes():
    for params in ({"scene_priors": [0.5, 0.5]}, {"jumps": [[0.5, 0.5], [0.5, 0.5]]}):
        with pytest.raises(ConfigError, match="3 scenes"):
            build(**params).update(observe([0.2, 0.3, 0.5]))
