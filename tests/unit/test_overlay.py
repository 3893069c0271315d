"""Annotated frames: any size, any option, the input never touched, and what must be seen can be seen."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_states import gradient, make_state

from config.labels.palette import ade20k_palette
from config.schema import OverlaySettings
from models.prediction import View
from streamer.overlay import HELD, STEADY, Layout, Overlay, duration, scene_title
from streamer.paint import Box, bar, frosted, paint, rounded
from streamer.text import Typesetter
from streamer.tint import heat, smooth_regions, tint

SIZES = [(1, 1), (1, 300), (300, 1), (16, 16), (33, 47), (120, 90), (426, 240), (405, 720), (960, 540), (3840, 2160)]
CLASS_MAP = np.repeat(np.array([[1, 4, 0, 13], [1, 4, 4, 0]], np.uint8), 14, axis=1)
GATE = np.linspace(0, 1, 14 * 14, dtype=np.float32).reshape(14, 14)
PLAIN = OverlaySettings(tint=0, legend=False)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_size(width, height):
    image = gradient(width, height)
    before = image.copy()
    drawn = Overlay(OverlaySettings()).draw(make_state(image, class_map=CLASS_MAP))
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert np.array_equal(image, before)
    assert not np.shares_memory(drawn, image)


HEAT_MAPS = ("off", "gate", "activation")
OPTIONS = list(itertools.product((0.0, 0.35, 1.0), (True, False), HEAT_MAPS, (0, 5), (True, False)))


@pytest.mark.parametrize(("strength", "legend", "heat_map", "runner_ups", "semantic"), OPTIONS)
def test_every_option(strength, legend, heat_map, runner_ups, semantic):
    options = OverlaySettings(tint=strength, legend=legend, heat_map=heat_map, runner_ups=runner_ups)
    maps = {"class_map": CLASS_MAP, "gate": GATE, "activation": 30 * GATE - 10} if semantic else {}
    image = gradient(426, 240)
    image.flags.writeable = False
    drawn = Overlay(options).draw(make_state(image, raw="street", **maps))
    assert drawn.shape == image.shape
    assert drawn.flags.writeable and drawn.flags.c_contiguous


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 500),
    p=st.floats(0, 1),
    held=st.booleans(),
    unknown=st.booleans(),
    dwell_s=st.floats(0, 1e7),
)
def test_any_state_on_any_frame(width, height, p, held, unknown, dwell_s):
    image = np.full((height, width, 3), 90, np.uint8)
    state = make_state(image, p=p, held=held, unknown=unknown, dwell_s=dwell_s, raw="street", class_map=CLASS_MAP)
    assert SHARED.draw(state).shape == image.shape


SHARED = Overlay(OverlaySettings())


def test_same_state_same_picture():
    state = make_state(gradient(426, 240), class_map=CLASS_MAP)
    assert np.array_equal(Overlay(OverlaySettings()).draw(state), SHARED.draw(state))


def test_pictures_that_are_views_are_fine():
    wide = gradient(800, 300)
    assert SHARED.draw(make_state(wide[::-1, 100:526], class_map=CLASS_MAP)).shape == (300, 426, 3)


def test_outside_the_panel_nothing_changes_without_a_tint():
    image = gradient(960, 540)
    drawn = Overlay(PLAIN).draw(make_state(image))
    assert np.array_equal(drawn[:, 480:], image[:, 480:])
    assert not np.array_equal(drawn[:100, :200], image[:100, :200])


def test_bar_grows_with_the_probability_and_shows_a_held_scene():
    image = np.zeros((540, 960, 3), np.uint8)

    def coloured(p, colour, held=False):
        drawn = Overlay(PLAIN).draw(make_state(image, p=p, held=held))
        return int(np.all(drawn == colour, axis=-1).sum())

    assert 0 < coloured(0.2, STEADY) < coloured(0.5, STEADY) < coloured(0.9, STEADY)
    assert coloured(0.5, STEADY, held=True) == 0 < coloured(0.5, HELD, held=True)


def test_unknown_looks_unlike_known():
    image = np.zeros((240, 426, 3), np.uint8)
    known, unknown = (Overlay(PLAIN).draw(make_state(image, unknown=u)) for u in (False, True))
    assert not np.array_equal(known, unknown)
    assert not np.all(unknown == STEADY, axis=-1).any()


@pytest.mark.parametrize(("width", "height"), [(320, 240), (426, 240), (240, 426), (1920, 1080), (3840, 2160)])
def test_type_is_legible_and_the_panel_leaves_the_picture_room(width, height):
    layout = Layout.of(width, height)
    assert layout.body >= max(10, 0.019 * min(width, height))
    assert layout.panel <= 0.75 * width


def test_tint_leaves_class_0_and_ids_beyond_the_palette_alone():
    image = gradient(400, 300)
    for odd_id in (0, 200):
        class_map = np.full((56, 56), odd_id, np.uint8)
        assert np.array_equal(tint(image, class_map, ade20k_palette(), 0.5), image)


def test_tint_shows_each_class_in_its_colour():
    palette = ade20k_palette()
    class_map = np.repeat(np.array([[3, 7]], np.uint8), 28, axis=1).repeat(56, axis=0)
    tinted = tint(np.zeros((300, 400, 3), np.uint8), class_map, palette, 1.0)
    assert np.abs(tinted[150, 50].astype(int) - palette[3]).max() <= 1
    assert np.abs(tinted[150, 350].astype(int) - palette[7]).max() <= 1


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_enlarging_a_class_map_invents_no_class(width, height, seed):
    class_map = np.random.default_rng(seed).choice(np.array([0, 1, 7, 150], np.uint8), (height, width))
    assert set(np.unique(smooth_regions(class_map))) <= set(np.unique(class_map)) | {0}


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0, np.nan, np.inf])
def test_flat_gate_gives_flat_heat(value):
    image = np.full((90, 160, 3), 100, np.uint8)
    assert np.ptp(heat(image, np.full((7, 7), value, np.float32)), axis=(0, 1)).max() == 0


def test_a_flat_activation_is_no_noise():
    image = np.full((90, 160, 3), 100, np.uint8)
    noise = np.random.default_rng(0).uniform(0, 0.01, (8, 8)).astype(np.float32)
    assert np.ptp(heat(image, noise, smallest_span=1.0), axis=(0, 1)).max() <= 3


@pytest.mark.parametrize(("written", "meant"), [(True, "gate"), (False, "off"), ("activation", "activation")])
def test_a_heat_map_may_be_switched_on_and_off(written, meant):
    assert OverlaySettings(heat_map=written).heat_map == meant


def test_each_heat_map_shows_its_own_map_and_says_so():
    image = np.full((270, 480, 3), 100, np.uint8)
    state = make_state(image, gate=GATE, activation=-GATE, raw="street")
    gate, activation = (Overlay(OverlaySettings(heat_map=kind)) for kind in ("gate", "activation"))
    assert gate.draw(state)[-40:, 300:].mean() > activation.draw(state)[-40:, 300:].mean() + 40
    assert gate._heat_words(state.prediction)[0] == "gate: closed to open"
    assert activation._heat_words(state.prediction)[0] == "speaks for Street: least to most"
    bare = make_state(image)
    assert [overlay._heat_words(bare.prediction)[0] for overlay in (gate, activation)] == [
        "no gate here",
        "no activation map here",
    ]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 200), (640, 360)])
@pytest.mark.parametrize("view", [View(0.1, 0.25, 0.9, 0.75), View(0, 0, 0, 0), View(1, 1, 1, 1), View(0, 0.5, 1, 2)])
def test_heat_of_a_crop_stays_in_it(width, height, view):
    image = np.full((height, width, 3), 100, np.uint8)
    drawn = heat(image, GATE, view)
    assert drawn.shape == image.shape
    outside = drawn[:, : max(0, int(view.left * width) - 1)]
    assert outside.size == 0 or (np.ptp(outside) == 0 and outside.max() < 100)


def test_heat_is_bright_where_the_gate_is_open():
    drawn = heat(np.full((90, 160, 3), 100, np.uint8), GATE)
    assert drawn[-1].mean() > drawn[0].mean() + 40


@given(st.integers(-50, 80), st.integers(-50, 80), st.integers(0, 70), st.integers(0, 70), st.floats(-1, 2))
@settings(max_examples=60, deadline=None)
def test_shapes_may_lie_anywhere(x, y, w, h, share):
    canvas = np.full((40, 60, 3), 50, np.uint8)
    frosted(canvas, Box(x, y, w, h), 6, (0, 0, 0), 0.5)
    bar(canvas, Box(x, y, w, h), share, (255, 255, 255), (9, 9, 9))
    paint(canvas, np.full((h + 1, w + 1), 255, np.uint8), x, y, (1, 2, 3))
    inside = canvas[max(y, 0) : max(y + h + 1, 0), max(x, 0) : max(x + w + 1, 0)]
    assert np.all(np.abs(inside.astype(int) - (1, 2, 3)) <= 1)


def test_rounded_rectangle():
    mask = rounded(20, 10, 4)
    assert mask[5, 10] == 255
    assert mask[0, 0] < 30
    assert np.array_equal(mask, mask[::-1, ::-1])


def test_type_cache_is_bounded_and_keeps_what_is_used():
    typesetter = Typesetter(cache_bytes=20_000)
    kept = typesetter.line("kept", 20)
    for i in range(200):
        typesetter.line(f"word {i}", 20)
        assert typesetter.line("kept", 20) is kept
    assert typesetter._held_bytes <= 20_000


@pytest.mark.parametrize("text", ["", " ", "Küche", "台所", "a\nb", "x" * 500, "Living room"])
@pytest.mark.parametrize("width", [1, 7, 60, 4000])
def test_type_fits(text, width):
    mask = Typesetter().fit(text, 20, width, smallest=12)
    assert mask.shape[1] <= width
    assert mask.shape[0] in range(12, 21)


def test_titles():
    assert scene_title("living_room") == "Living room"
    assert scene_title("/c/church/outdoor") == "Church, outdoor"
    assert scene_title("") == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (12.9, "12 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words
