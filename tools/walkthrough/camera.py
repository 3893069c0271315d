"""A hand-held camera that looks at a picture: where its window stands at each moment. Pure.

The window never leaves the picture: what shake and roll can take at most is set aside before the path is laid, so
nothing is ever stopped at an edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

# Amplitudes fall with the frequency, as those of a hand do: slow sway is wide, tremor is small.
_SHAKE_HZ = (0.4, 7.0)
_EXPOSURE_HZ = (0.05, 0.4)
_WAVES = 9

_ZOOM = (1.0, 1.25)
_LARGEST_ZOOM = 1.35
_ZOOM_A_SECOND = 0.03  # natural logarithm
_PAN_A_SECOND = (0.3, 0.08)  # of the room beside and above the window
# Sideways a window may go anywhere, upwards it may not: what names a street or a room is below its sky or ceiling.
_FIRST_X, _FIRST_Y = (0.1, 0.9), (0.5, 0.85)
_ANY_X, _ANY_Y = (0.0, 1.0), (0.4, 0.95)
_SHAKE = (0.005, 0.025)
_ROLL_DEGREES = (0.1, 1.2)
_EXPOSURE_STOPS = (0.05, 0.3)
_NOISE = (1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Sway:
    """Smooth noise in a band of frequencies.

    Attributes:
        waves: frequency in Hz, phase in radians and amplitude of each sine; the amplitudes sum to 1.
    """

    waves: tuple[tuple[float, float, float], ...]

    def at(self, seconds: float) -> float:
        """The value at a time, -1..1."""
        return sum(share * math.sin(math.tau * hz * seconds + phase) for hz, phase, share in self.waves)


class Pose(NamedTuple):
    """Where a camera looks: x and y, 0..1 of the room that its window has beside itself; how far it has zoomed in."""

    x: float
    y: float
    zoom: float


@dataclass(frozen=True, slots=True)
class Camera:
    """How one picture is filmed.

    Attributes:
        first, last: the pose when the picture appears and when it is gone; between them it moves evenly.
        shake: largest distance from that path, a share of the window's width.
        roll_degrees: largest turn.
        exposure_stops: largest change of the exposure, in stops.
        noise: standard deviation of the sensor's noise, in steps of 8 bits.
        sway_x, sway_y, sway_roll, sway_exposure: how shake, roll and exposure change over time.
    """

    first: Pose
    last: Pose
    shake: float
    roll_degrees: float
    exposure_stops: float
    noise: float
    sway_x: Sway
    sway_y: Sway
    sway_roll: Sway
    sway_exposure: Sway

    @property
    def largest_zoom(self) -> float:
        """The zoom at its strongest."""
        return max(self.first.zoom, self.last.zoom)


class Window(NamedTuple):
    """A turned rectangle: centre and size in pixels, from the picture's left upper corner; the turn in radians."""

    x: float
    y: float
    width: float
    height: float
    angle: float

    def corners(self) -> list[tuple[float, float]]:
        """Its four corners in pixels."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        halves = [(sx * self.width / 2, sy * self.height / 2) for sx in (-1, 1) for sy in (-1, 1)]
        return [(self.x + cos * dx - sin * dy, self.y + sin * dx + cos * dy) for dx, dy in halves]


def draw_camera(random: Random, seconds: float) -> Camera:
    """A camera for a picture that is seen for `seconds`; how fast it moves does not depend on how long."""
    zoom = random.uniform(*_ZOOM)
    x, y = random.uniform(*_FIRST_X), random.uniform(*_FIRST_Y)
    last = Pose(
        _within(x + seconds * random.uniform(-1, 1) * _PAN_A_SECOND[0], *_ANY_X),
        _within(y + seconds * random.uniform(-1, 1) * _PAN_A_SECOND[1], *_ANY_Y),
        _within(zoom * math.exp(seconds * random.uniform(-1, 1) * _ZOOM_A_SECOND), 1, _LARGEST_ZOOM),
    )
    return Camera(
        first=Pose(x, y, zoom),
        last=last,
        shake=random.uniform(*_SHAKE),
        roll_degrees=random.uniform(*_ROLL_DEGREES),
        exposure_stops=random.uniform(*_EXPOSURE_STOPS),
        noise=random.uniform(*_NOISE),
        sway_x=_draw_sway(random, *_SHAKE_HZ),
        sway_y=_draw_sway(random, *_SHAKE_HZ),
        sway_roll=_draw_sway(random, *_SHAKE_HZ),
        sway_exposure=_draw_sway(random, *_EXPOSURE_HZ),
    )


def window_at(camera: Camera, progress: float, seconds: float, picture: tuple[int, int], aspect: float) -> Window:
    """The window at one moment, wholly inside the picture.

    Args:
        camera: whose window.
        progress: 0 where the picture appears, 1 where it is gone.
        seconds: since it appeared.
        picture: width and height in pixels.
        aspect: width of the window divided by its height.
    """
    eased = progress * progress * (3 - 2 * progress)
    pose = Pose(*(a + (b - a) * eased for a, b in zip(camera.first, camera.last, strict=True)))
    width = widest(camera, picture, aspect) / pose.zoom
    reach_x, reach_y = _reach(camera, aspect)
    shake = camera.shake * width
    return Window(
        x=_placed(pose.x, reach_x * width, picture[0]) + shake * camera.sway_x.at(seconds),
        y=_placed(pose.y, reach_y * width, picture[1]) + shake * camera.sway_y.at(seconds),
        width=width,
        height=width / aspect,
        angle=math.radians(camera.roll_degrees) * camera.sway_roll.at(seconds),
    )


def widest(camera: Camera, picture: tuple[int, int], aspect: float) -> float:
    """Width in pixels of the largest window that stays inside the picture (width, height) however the hand shakes."""
    reach_x, reach_y = _reach(camera, aspect)
    return min(picture[0] / (2 * reach_x), picture[1] / (2 * reach_y))


def _reach(camera: Camera, aspect: float) -> tuple[float, float]:
    """How far from the path a window 1 wide can reach to each side, and up and down."""
    # A bound for every angle up to the largest: the cosine is at most 1, the sine that of the largest.
    sin, width, height = math.sin(math.radians(camera.roll_degrees)), 1.0, 1.0 / aspect
    return (width + height * sin) / 2 + camera.shake, (height + width * sin) / 2 + camera.shake


def _placed(share: float, reach: float, length: int) -> float:
    """A centre that keeps `reach` from both ends of 0..`length`, at a share of the room that is left."""
    return reach + share * max(0.0, length - 2 * reach)


def _draw_sway(random: Random, lowest_hz: float, highest_hz: float) -> Sway:
    """Sines spread evenly over the band on a logarithmic scale, each somewhere in its part of it."""
    step = math.log(highest_hz / lowest_hz) / _WAVES
    frequencies = [lowest_hz * math.exp(step * (i + random.random())) for i in range(_WAVES)]
    total = sum(1 / hz for hz in frequencies)
    return Sway(tuple((hz, random.uniform(0, math.tau), 1 / hz / total) for hz in frequencies))


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
