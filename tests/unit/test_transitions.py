"""Hard cuts, fades and dissolves between pictures made up here, seen by a camera that sways; and what is none."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from models.transitions import Moment, Transition, TransitionDetector

SIDE = (90, 160)


def texture(seed: int) -> np.ndarray:
    """A picture of soft blobs, larger than a frame, H×W×3 float32 of 0..255."""
    coarse = np.random.default_rng(seed).uniform(20, 235, (6, 10, 3)).astype(np.float32)
    return cv2.resize(coarse, (SIDE[1] + 40, SIDE[0] + 40), interpolation=cv2.INTER_CUBIC).clip(0, 255)


A, B = texture(1), texture(2)


def seen(picture: np.ndarray, seconds: float) -> np.ndarray:
    """What a hand-held camera shows of a picture at a time."""
    x, y = (round(20 + 3 * np.sin(k * seconds)) for k in (2.0, 3.1))
    return picture[y : y + SIDE[0], x : x + SIDE[1]]


def run(show: Callable[[float], np.ndarray], seconds: float, fps: float = 25, **how) -> list[tuple[int, Transition]]:
    """The transitions found in `show(time)`, each with the number of the frame that told it."""
    detector = TransitionDetector(0.09, 3.0, **how)
    noise = np.random.default_rng(0)
    found = []
    for number in range(round(seconds * fps)):
        now = number / fps
        frame = show(now) + noise.normal(0, 3, (*SIDE, 3))
        told = detector.update(frame.clip(0, 255).astype(np.uint8), Moment(number, number, now))
        if told is not None:
            found.append((number, told))
    return found


def mixed(start: float, end: float, through: np.ndarray | float | None = None) -> Callable[[float], np.ndarray]:
    """A, then B; from `start` to `end` a dissolve, or a fade through a plain colour."""

    def show(now: float) -> np.ndarray:
        share = np.clip((now - start) / max(end - start, 1e-9), 0, 1)
        former, next_ = seen(A, now), seen(B, now)
        if through is None:
            return (1 - share) * former + share * next_
        away = 2 * share if share < 0.5 else 2 - 2 * share
        return (1 - away) * (former if share < 0.5 else next_) + away * through

    return show


@pytest.mark.parametrize("fps", [8, 25, 60])
def test_a_hard_cut_is_told_on_its_very_frame(fps):
    ((number, cut),) = run(mixed(3, 3), 6, fps)
    assert cut.kind == "hard"
    assert cut.start == cut.end == Moment(number, number, number / fps)
    assert number == 3 * fps + 1  # the first frame after that time


@pytest.mark.parametrize("length", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("fps", [12, 25, 60])
def test_a_dissolve_is_told_when_it_is_over(length, fps):
    found = run(mixed(4, 4 + length), 4 + length + 3, fps)
    ((number, told),) = found
    assert told.kind == "dissolve"
    assert told.start.seconds == pytest.approx(4, abs=0.25 + 0.2 * length)
    assert told.end.seconds == pytest.approx(4 + length, abs=0.25 + 0.2 * length)
    assert told.end.frame_id <= number
    assert number / fps < 4 + length + 0.75 + 0.25 * length


def test_a_very_slow_dissolve_is_told_too_though_perhaps_in_part():
    found = run(mixed(4, 7.5), 11)
    assert found
    assert all(told.kind == "dissolve" and told.start.seconds > 3.5 and told.end.seconds < 8 for _, told in found)


@pytest.mark.parametrize("plain", [0.0, 255.0])
@pytest.mark.parametrize("length", [1.0, 2.0])
def test_a_fade_is_told_when_the_next_picture_appears(plain, length):
    ((number, fade),) = run(mixed(4, 4 + length, plain), 9)
    assert fade.kind == "fade"
    assert fade.end.frame_id == number
    assert fade.start.seconds == pytest.approx(4, abs=0.2)
    assert 4 + length / 2 <= fade.end.seconds < 4 + length / 2 + 0.4


def test_a_fade_from_the_start_of_a_recording_has_no_former_picture():
    assert run(lambda now: np.clip((now - 1) / 1, 0, 1) * seen(A, now), 5) == []


def test_gradual_ones_can_be_left_out():
    assert run(mixed(4, 5), 8, gradual=False) == []
    assert run(mixed(4, 6, 0.0), 8, gradual=False) == []


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(lambda now: seen(A, now), id="a hand that sways"),
        pytest.param(lambda now: A[20 : 20 + SIDE[0], 20 : 20 + SIDE[1]], id="a picture that stands still"),
        pytest.param(lambda now: seen(A, now) * (0.75 + 0.25 * np.sin(now)), id="an exposure that drifts"),
        pytest.param(lambda now: seen(A, now) * (0.6 if now < 4 else 0.75), id="a lamp"),
        pytest.param(lambda now: np.full((*SIDE, 3), 10.0), id="darkness"),
        pytest.param(lambda now: np.full((*SIDE, 3), 60.0 + 15 * now), id="a plain wall in the morning"),
        pytest.param(lambda now: np.roll(A, round(12 * now), 1)[: SIDE[0], : SIDE[1]], id="a pan"),
    ],
)
def test_what_is_no_transition(show):
    assert run(show, 10) == []


def test_a_reset_forgets():
    detector = TransitionDetector(0.09, 3.0)
    for number in range(50):
        detector.update(A[: SIDE[0], : SIDE[1]].astype(np.uint8), Moment(number, number, number / 25))
    detector.reset()
    for number in range(50):
        assert detector.update(B[: SIDE[0], : SIDE[1]].astype(np.uint8), Moment(number, number, number / 25)) is None


def test_colours_without_a_picture_do_no_harm():
    """Not a grain of noise: nothing to divide by."""
    detector = TransitionDetector(0.09, 3.0)
    levels = [*range(60, 180, 3), *range(180, 60, -3)] * 3
    told = [detector.update(np.full((*SIDE, 3), v, np.uint8), Moment(i, i, i / 25)) for i, v in enumerate(levels)]
    assert not any(told)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (1080, 1920)])
def test_any_size_will_do(size):
    detector = TransitionDetector(0.09, 3.0)
    for number in range(20):
        picture = np.full((*size, 3), 40 if number < 10 else 200, np.uint8)
        told = detector.update(picture, Moment(number, number, number / 10))
        assert (told is not None) == (number == 10)
