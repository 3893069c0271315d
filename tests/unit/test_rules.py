"""Rules on a simulated clock: when they fire, and when they must not."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise

import jsonschema
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from rules_harness import NOON_NS, TIME_BASE, camera, fires, rule, sighting
from scene_states import make_state

from config.labels import UnknownLabelError
from config.rules import ActiveSettings
from models.package import find_package
from streamer import schemas
from streamer.errors import ConfigError, MessageError
from streamer.message import label_body
from streamer.rules.clock import StreamClock, awake
from streamer.rules.engine import RuleEngine
from streamer.rules.names import check_model, check_sources
from streamer.rules.sighting import sighting_in, sighting_of
from streamer.rules.words import action_in_words, in_words

KITCHEN_1S = {"scene": "kitchen", "for_s": 1}


# --------------------------------------------------------------- what lasts


def test_a_stay_fires_once_when_it_has_lasted_long_enough():
    assert fires(rule(KITCHEN_1S), camera("sskkkkkkkkkkkkkkkkkkkkkkkkkkkk")) == [12]


def test_it_fires_again_only_after_the_condition_was_false():
    assert fires(rule({"scene": "kitchen", "for_s": 0.2}), camera("kkkkkskkkkk")) == [2, 8]


def test_without_for_s_the_first_frame_is_enough():
    assert fires(rule({"scene": ["street", "forest"]}), camera("kksfsk?s")) == [2, 7]


def test_an_unknown_frame_shows_no_scene():
    assert fires(rule(KITCHEN_1S), camera("kkkkkkkkk?kkkkkkkkkkkk")) == [20]
    assert fires(rule({"unknown": True, "for_s": 0.3}), camera("kk????kk??k????")) == [5, 14]


def test_a_group_counts_from_its_share_on():
    shares = [0.5, 0.8, 0.79, 0.9, 0.9, 0.9, 0.9]
    frames = [sighting(i, groups={"indoor": p}) for i, p in enumerate(shares)]
    assert fires(rule({"group": {"name": "indoor", "at_least": 0.8}, "for_s": 0.2}), frames) == [5]
    assert fires(rule({"group": {"name": "outdoor", "at_least": 0.1}}), frames) == []


def test_a_duration_counts_as_it_is_written():
    """30000/1001 frames a second, and a tenth of a second, which no binary fraction is."""
    frames = [sighting(i, time_base=Fraction(1, 50)) for i in range(10)]
    assert fires(rule({"scene": "kitchen", "for_s": 0.1}), frames) == [5]
    ntsc = [sighting(i, time_base=Fraction(1001, 30000)) for i in range(40)]
    assert fires(rule(KITCHEN_1S), ntsc) == [30]


@pytest.mark.parametrize(
    ("story", "fired"),
    [
        ("kkkkkkskkkkk", [10]),  # broken for 0.1 s
        ("kkkkkksskkkk", [10]),  # broken for 0.2 s, as long as it may be
        ("kkkkkkssskkkkkkkkkkk", [19]),  # broken for 0.3 s
        ("kkkksssssss", []),
        ("kkkkkkkkssk", [10]),  # due while broken: it fires at the next frame with it
        ("kkkkkkkkkkksskkkkkkkkkkkkk", [10]),  # a short break makes no second stay
        ("kkkkkkkkkkkssskkkkkkkkkkk", [10, 24]),
    ],
)
def test_debounce(story, fired):
    assert fires(rule(KITCHEN_1S, debounce_s=0.2), camera(story)) == fired


def test_a_stay_that_is_due_too_early_fires_when_the_rule_has_cooled_down():
    assert fires(rule({"scene": "kitchen"}, cool_down_s=0.5), camera("kskkkkkkkk")) == [0, 5]
    assert fires(rule({"scene": "kitchen"}, cool_down_s=0.5), camera("kskksssssss")) == [0]


# ------------------------------------------------------------------- changes


def test_a_change_fires_at_its_frame():
    assert fires(rule({"change": {"from": "kitchen", "to": "street"}}), camera("kkssksffs")) == [2, 5]
    assert fires(rule({"change": {"to": ["forest", "street"]}}), camera("kkssksffs")) == [2, 5, 6, 8]
    assert fires(rule({"change": {"from": "any", "to": "any"}}), camera("kkssksffs")) == [2, 4, 5, 6, 8]


def test_unknown_frames_are_no_change_and_hide_none():
    any_change = rule({"change": {}})
    assert fires(any_change, camera("kk??kk")) == []
    assert fires(any_change, camera("kk??ss")) == [4]
    assert fires(any_change, camera("??ss")) == []


def test_a_change_while_the_rule_cools_down_is_passed_over():
    assert fires(rule({"change": {}}, cool_down_s=0.3), camera("ksksksk")) == [1, 4]


# ------------------------------------------------------------ epochs, sources


def test_a_new_epoch_begins_afresh_and_cool_down_goes_on():
    stay, cooling = rule({"scene": "kitchen", "for_s": 0.3}), rule({"scene": "kitchen"}, cool_down_s=2)
    later = NOON_NS + 10**9  # 0.5 s after the first epoch's last frame
    again = [sighting(i, epoch=1, t_capture_ns=later + i * 10**8) for i in range(20)]
    assert fires(stay, camera("kkkkkk") + again) == [3, 3]
    assert fires(cooling, camera("kkkkkk") + again) == [0, 10]
    assert fires(rule({"change": {}}), camera("kk") + camera("ss", epoch=1)) == []


def test_a_loop_of_a_recording_takes_no_time():
    clock = StreamClock()
    seen = [clock.at(one) for epoch in (0, 1) for one in camera("kkk", epoch=epoch, clock="file")]
    assert seen == [Fraction(i, 10) for i in (0, 1, 2, 2, 3, 4)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-50, 50), st.integers(0, 10**12)), max_size=30))
def test_the_clock_never_runs_backwards(places):
    clock = StreamClock()
    times = [clock.at(sighting(pts, epoch=epoch, t_capture_ns=t)) for epoch, pts, t in places]
    assert all(a <= b for a, b in pairwise(times))


def test_sources_do_not_mix_and_count_their_own_firings():
    engine = RuleEngine([rule(KITCHEN_1S), rule({"scene": "street"}, name="other", sources="cam2")])
    one, two = camera("k" * 12), camera("k" * 6 + "s" * 6, source="cam2")
    firings = [f for pair in zip(one, two, strict=True) for both in pair for f in engine.step(both)]
    found = [(f.source, f.rule, f.number, f.sighting.pts) for f in firings]
    assert found == [("cam2", "other", 0, 6), ("cam1", "r", 0, 10)]


# --------------------------------------------------------------------- hours


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


NIGHTS = ActiveSettings.model_validate(
    {"hours": [{"days": ["thu", "fri"], "from": "22:00", "to": "06:00"}], "time_zone": "UTC"}
)


@pytest.mark.parametrize(
    ("moment", "is_awake"),
    [
        ("2026-01-01 21:59:59", False),  # a Thursday
        ("2026-01-01 22:00", True),
        ("2026-01-02 05:59:59", True),
        ("2026-01-02 06:00", False),
        ("2026-01-03 05:00", True),  # Friday's night
        ("2026-01-03 22:00", False),  # Saturday's
        ("2026-01-01 05:00", False),  # Wednesday's
    ],
)
def test_hours_across_midnight_belong_to_the_day_they_begin_on(moment, is_awake):
    assert awake(NIGHTS, at(moment)) is is_awake


def test_a_time_zone_has_its_own_hours_and_days():
    hours = {"hours": [{"days": "fri", "from": "00:00", "to": "24:00"}], "time_zone": "Asia/Tokyo"}
    active = ActiveSettings.model_validate(hours)
    assert awake(active, at("2026-01-01 15:00"))  # Friday there
    assert not awake(active, at("2026-01-01 14:59"))


def test_hours_follow_summer_time():
    active = ActiveSettings.model_validate({"hours": [{"from": "12:00", "to": "13:00"}], "time_zone": "Europe/Berlin"})
    assert awake(active, at("2026-01-15 11:30")) and awake(active, at("2026-07-15 10:30"))


def test_a_rule_that_wakes_up_begins_afresh():
    """Frames 0.1 s apart; the rule sleeps for the first second."""
    hours = {"hours": [{"from": "13:00", "to": "14:00"}], "time_zone": "UTC"}
    start = at("2026-01-01 12:59:59")
    frames = [sighting(i, t_capture_ns=start + i * 10**8) for i in range(30)]
    assert fires(rule({"scene": "kitchen", "for_s": 0.5}, active=hours), frames) == [15]
    changes = [sighting(i, "street" if i >= 5 else "kitchen", t_capture_ns=start + i * 10**8) for i in range(30)]
    assert fires(rule({"change": {}}, active=hours), changes) == []


# ---------------------------------------------------------------- properties

STORIES = st.text("ks?", min_size=1, max_size=80)
STEPS = st.integers(1, 30)


@hypothesis(max_examples=200, deadline=None)
@given(STORIES, STEPS, st.integers(0, 40), st.integers(0, 30), st.integers(0, 60))
def test_a_stay_never_fires_early_nor_twice_nor_while_it_cools_down(story, every, for_s, debounce_s, cool_down_s):
    """Against the definition itself: look back from each firing for a gap that is too long."""
    frames = camera(story, every=every)
    settings = rule({"scene": "kitchen", "for_s": for_s / 10}, debounce_s=debounce_s / 10, cool_down_s=cool_down_s / 10)
    fired = fires(settings, frames)
    assert all(later - earlier >= max(cool_down_s, 1) for earlier, later in pairwise(fired))
    since = {pts: _stay_start(frames, pts, debounce_s) for pts in fired}
    assert all(start is not None and pts - start >= for_s for pts, start in since.items())
    assert len(set(since.values())) == len(fired), "one firing a stay"


@hypothesis(max_examples=200, deadline=None)
@given(STORIES, STEPS, st.integers(0, 40), st.integers(0, 30))
def test_a_stay_that_is_long_enough_fires(story, every, for_s, debounce_s):
    frames = camera(story, every=every)
    fired = fires(rule({"scene": "kitchen", "for_s": for_s / 10}, debounce_s=debounce_s / 10), frames)
    starts = {frame.pts: _stay_start(frames, frame.pts, debounce_s) for frame in frames}
    due: dict[int, int] = {}
    for pts, start in starts.items():
        if start is not None and pts - start >= for_s:
            due.setdefault(start, pts)
    assert fired == sorted(due.values())


def _stay_start(frames, pts, debounce):
    """pts at which the stay began that holds at `pts`, None if it does not hold there."""
    holding = [(f.pts, f.scene == "kitchen" and not f.unknown) for f in frames if f.pts <= pts]
    if not holding[-1][1]:
        return None
    start, broken = pts, None
    # A break lasts from its first frame to the next frame with the condition.
    for i in range(len(holding) - 1, -1, -1):
        here, holds = holding[i]
        if holds:
            if broken is not None and start - broken > debounce:
                break
            start, broken = here, None
        else:
            broken = here
            if start - here > debounce or (debounce == 0 and start > here):
                break
    return start


@given(STORIES, STEPS, st.integers(0, 60))
def test_changes_keep_to_the_cool_down(story, every, cool_down_s):
    fired = fires(rule({"change": {}}, cool_down_s=cool_down_s / 10), camera(story, every=every))
    assert all(later - earlier >= cool_down_s for earlier, later in pairwise(fired))


# -------------------------------------------------------------- what is told


def firing_of(settings, frames):
    engine = RuleEngine([settings])
    return next(f for one in frames for f in engine.step(one))


@pytest.mark.parametrize(
    ("when", "story", "told"),
    [
        (KITCHEN_1S, "s" + "k" * 12, {"scene": "kitchen", "since_pts": 1, "held_s": 1.0, "unknown": False}),
        ({"change": {}}, "ks", {"from": "kitchen", "to": "street", "scene": "street"}),
        ({"unknown": True}, "k?", {"unknown": True, "since_pts": 1, "held_s": 0.0}),
        ({"group": {"name": "indoor", "at_least": 0.5}}, "k", {"group": "indoor", "group_p": 0.75}),
    ],
)
def test_the_body_of_a_firing_fits_the_schema(when, story, told):
    body = firing_of(rule(when), camera(story, groups={"indoor": 0.75})).body("run-1", 1)
    jsonschema.Draft202012Validator(schemas.load("event")).validate(body)
    assert told.items() <= body.items()
    assert body["rule"] == "r"
    assert body["time_base"] == [TIME_BASE.numerator, TIME_BASE.denominator]
    assert ("from" in body) == ("change" in when)
    assert ("group" in body) == ("group" in when)


def test_a_label_message_shows_what_the_state_did():
    state = make_state(scene="street", p=0.625, pts=50, unknown=True)
    body = label_body(state, run="run-1", t_publish_ns=1)
    assert sighting_in(body) == sighting_of(state)


@pytest.mark.parametrize(
    "broken",
    [
        {"v": 2},
        {"pts": None},
        {"time_base": [1, 0]},
        {"time_base": 3},
        {"stable": None},
        {"stable": {"scene": "kitchen"}},
        {"groups": {"indoor": "x"}},
        {"groups": 3},
        {"t_capture_ns": 10**40},
        {"pts": "many"},
    ],
)
def test_a_label_that_is_none_says_so(broken):
    body = label_body(make_state(), run="run-1", t_publish_ns=1) | broken
    with pytest.raises(MessageError):
        sighting_in(body)


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("when", "hint"),
    [
        ({"scene": "kitchn"}, "did you mean 'kitchen'? known: "),
        ({"change": {"from": "kitchen", "to": "moon"}}, "no scene 'moon'; known: "),
        ({"scene": "any"}, "no scene 'any'"),
        ({"group": {"name": "inside", "at_least": 0.5}}, "no group 'inside'"),
    ],
)
def test_a_name_that_the_model_does_not_have_lists_those_it_has(when, hint):
    with pytest.raises(UnknownLabelError) as caught:
        check_model([rule(when)], find_package("scene18"))
    message = str(caught.value)
    assert "rule 'r'" in message
    assert hint in message
    assert ("outdoor" if "group" in when else "living_room") in message


def test_names_that_exist_are_good():
    whens = [{"scene": ["kitchen", "street"]}, {"change": {}}, {"group": {"name": "indoor", "at_least": 0.5}}]
    check_model([rule(when) for when in whens], find_package("scene18"))
    check_sources([rule({"unknown": True}, sources=["a", "b"])], ["a", "b", "c"])
    with pytest.raises(ConfigError, match="no source is called 'd'; of this run: a, b"):
        check_sources([rule({"unknown": True}, sources="d")], ["a", "b"])


# ---------------------------------------------------------------------- words


def test_rules_in_words():
    settings = rule(
        KITCHEN_1S,
        debounce_s=0.5,
        cool_down_s=60,
        sources=["a", "b"],
        active={"hours": [{"days": ["fri", "mon"], "from": "22:00", "to": "06:00"}], "time_zone": "UTC"},
    )
    assert in_words(settings) == (
        "when the scene is kitchen for 1 s, breaks of up to 0.5 s do not count, at most once in 60 s, "
        "only mon fri 22:00 to 06:00 (UTC), on a or b"
    )
    assert in_words(rule({"change": {"to": ["a", "b"]}})).startswith("when the scene changes from any scene to a or b")


def test_the_words_of_a_webhook_hold_no_secret():
    hook = rule({"unknown": True}, actions=[{"webhook": {"url": "https://me:secret@h.example:8443/secret?k=secret"}}])
    words = action_in_words(hook.actions[0])
    assert "https://h.example:8443" in words and "secret" not in words
    assert "${URL}" in action_in_words(rule({"unknown": True}, actions=[{"webhook": {"url": "${URL}"}}]).actions[0])
