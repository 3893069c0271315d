"""The frames of a walkthrough: pictures filmed by unsteady cameras, and dissolves from one to the next."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.frame import Picture
from tools.data.manifest import ManifestError, PictureManifest
from tools.walkthrough.camera import Window, widest, window_at
from tools.walkthrough.planning import Shot, Walkthrough

ReadPicture = Callable[[str], Picture]
"""Gives the picture of a path as the manifest has it, H×W×3 uint8 RGB."""

_LARGEST_SIDE = 8192  # pixels of a scaled picture; only pictures of odd shapes come near
_DISPLAY_GAMMA = 2.2
_NOISE_MARGIN = 64  # pixels by which the noise is larger than a frame, so that each frame gets another part of it
_LUMA_NOISE, _CHROMA_NOISE = 0.8, 0.6  # their squares sum to 1


def picture_reader(manifest: PictureManifest) -> ReadPicture:
    """Reads the pictures of a manifest; a faulty one is a ManifestError that says its line."""
    index = {entry.path: number for number, entry in enumerate(manifest.entries)}
    return lambda path: manifest[index[path]]


def check_pictures(walkthrough: Walkthrough, manifest: PictureManifest) -> None:
    """Find out before the work, not in the midst of it, that pictures are missing.

    Raises:
        ManifestError: one is not there.
    """
    for shot in walkthrough.shots:
        path = manifest.root / shot.picture
        if not path.is_file():
            raise ManifestError(f"{manifest.file}: no picture at {path}; is --root right?")


def render(walkthrough: Walkthrough, read: ReadPicture) -> Iterator[tuple[int, Fraction, Picture]]:
    """Yield (pts, time base, frame) of every frame, H×W×3 uint8 RGB.

    Args:
        walkthrough: the plan.
        read: gives the pictures; each shot's is read once, when it appears.

    Raises:
        ManifestError: from `read`.
    """
    shots, transitions = walkthrough.shots, walkthrough.transitions
    noise = SensorNoise(walkthrough.seed, walkthrough.size)

    def film(number: int) -> Film:
        return Film(shots[number], read, walkthrough.size, noise.of_shot(number))

    number, current, upcoming = 0, film(0), None  # `number` counts shots, and the transitions after them
    for pts in walkthrough.pts:
        now = pts * walkthrough.time_base
        while number < len(transitions) and now >= transitions[number].end:
            number += 1
            current, upcoming = upcoming or film(number), None
        frame = current.frame(now, pts)
        if number < len(transitions) and now >= transitions[number].start:
            change = transitions[number]
            upcoming = upcoming or film(number + 1)
            share = float((now - change.start) / (change.end - change.start))
            frame = blend(frame, upcoming.frame(now, pts), share)
        yield pts, walkthrough.time_base, frame


def blend(former: Picture, next_: Picture, share: float) -> Picture:
    """A dissolve: `share` of the next picture, 0..1, over the former, as video editors mix them."""
    return np.asarray(cv2.addWeighted(former, 1 - share, next_, share, 0), dtype=np.uint8)


class SensorNoise:
    """Noise of a sensor, mostly in brightness, other for every frame and shot; the same for the same seed.

    Args:
        seed: of the noise.
        size: width and height of the frames in pixels.
    """

    def __init__(self, seed: int, size: tuple[int, int]) -> None:
        self._seed, (self._width, self._height) = seed, size
        random = np.random.default_rng([seed, 0])
        shape = (self._height + _NOISE_MARGIN, self._width + _NOISE_MARGIN)
        luma = random.standard_normal((*shape, 1), np.float32)
        chroma = random.standard_normal((*shape, 3), np.float32)
        self._field = _LUMA_NOISE * luma + _CHROMA_NOISE * chroma

    def of_shot(self, number: int) -> Callable[[int], NDArray[np.float32]]:
        """For shot `number`: from the pts of a frame to H×W×3 float32 with a standard deviation of 1."""

        def at(pts: int) -> NDArray[np.float32]:
            random = np.random.default_rng([self._seed, 1, number, pts])
            top, left, flip = random.integers(0, (_NOISE_MARGIN, _NOISE_MARGIN, 2))
            part = self._field[top : top + self._height, left : left + self._width]
            return part[::-1] if flip else part

        return at


class Film:
    """One picture through its camera.

    The picture is scaled once, so that the camera's narrowest window has about a pixel for each of the frame.

    Args:
        shot: what is filmed, and how.
        read: gives the picture.
        size: width and height of the frames in pixels.
        noise: of the sensor; see `SensorNoise.of_shot`.
    """

    def __init__(
        self, shot: Shot, read: ReadPicture, size: tuple[int, int], noise: Callable[[int], NDArray[np.float32]]
    ) -> None:
        self._shot, self._size, self._noise = shot, size, noise
        self._aspect = size[0] / size[1]
        self._picture = self._scaled(read(shot.picture))

    def _scaled(self, picture: Picture) -> Picture:
        height, width = picture.shape[:2]
        narrowest = widest(self._shot.camera, (width, height), self._aspect) / self._shot.camera.largest_zoom
        scale = min(self._size[0] / narrowest, _LARGEST_SIDE / max(width, height))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        return np.asarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8)

    def window(self, now: Fraction) -> Window:
        """Where the camera looks at a time of the video in seconds, in pixels of the scaled picture."""
        shot = self._shot
        height, width = self._picture.shape[:2]
        since = now - shot.appears
        progress = float(since / (shot.gone - shot.appears))
        return window_at(shot.camera, progress, float(since), (width, height), self._aspect)

    def frame(self, now: Fraction, pts: int) -> Picture:
        """What is seen at a time of the video in seconds, H×W×3 uint8 RGB."""
        camera = self._shot.camera
        seen = cv2.warpAffine(
            self._picture,
            _to_picture(self.window(now), self._size),
            self._size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,  # for the half pixel between a picture's edge and its outermost centres
        )
        stops = camera.exposure_stops * camera.sway_exposure.at(float(now - self._shot.appears))
        gain = math.pow(2, stops / _DISPLAY_GAMMA)
        noisy = cv2.addWeighted(seen, gain, self._noise(pts), camera.noise, 0, dtype=cv2.CV_8U)
        return np.asarray(noisy, dtype=np.uint8)


def _to_picture(window: Window, size: tuple[int, int]) -> NDArray[np.float64]:
    """The 2×3 matrix that takes a pixel of the frame to its place in the picture; both count from pixels' centres."""
    scale = window.width / size[0]
    cos, sin = scale * math.cos(window.angle), scale * math.sin(window.angle)
    middle_x, middle_y = (size[0] - 1) / 2, (size[1] - 1) / 2
    return np.array(
        [
            [cos, -sin, window.x - 0.5 - cos * middle_x + sin * middle_y],
            [sin, cos, window.y - 0.5 - sin * middle_x - cos * middle_y],
        ]
    )
