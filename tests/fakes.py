"""Doubles for tests: a recognizer whose networks are a function of the picture's brightness, and a broken one."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from models.backends.base import Backend, NetworkOutput
from models.package import find_package
from models.recognizer import JointRecognizer, Recognizer

PACKAGE = find_package("scene18")
SCENES = len(PACKAGE.labels)


class FakeBackend(Backend):
    """Sure of scene number (mean brightness × 18); `before` is called with the number of the picture."""

    name = "fake"
    device = "cpu"
    precision = "f32"

    def __init__(self, before: Callable[[int], None] = lambda number: None) -> None:
        self.count = 0
        self._before = before

    def lane(self):
        return self

    def infer(self, pictures):
        self._before(self.count)
        self.count += 1
        # Normalised as the packaged model has it, whose black is -1 and white 1; other tests count on these scenes.
        bright = np.clip((pictures.mean((1, 2, 3)) / 127.5 - 1 + 2) / 4.5, 0, 0.999)
        logits = np.zeros((len(pictures), SCENES), np.float32)
        logits[np.arange(len(pictures)), (bright * SCENES).astype(int)] = 10
        maps = np.zeros((len(pictures), 8, 8))
        return NetworkOutput(logits, maps.astype(np.uint8), maps.astype(np.float32), maps.astype(np.float32))


def brightness(scene: str) -> int:
    """The grey that `FakeBackend` takes for a scene."""
    place = (PACKAGE.labels.index(scene) + 0.5) / SCENES * 4.5 - 2
    return round(255 * (PACKAGE.preprocess.mean[0] + PACKAGE.preprocess.std[0] * place))


def fake_recognizer(before: Callable[[int], None] = lambda number: None) -> Recognizer:
    """The packaged model's labels and preprocessing on a `FakeBackend`."""
    return JointRecognizer(PACKAGE, FakeBackend(before))


def breaks_at(number: int, seconds: float = 0.0) -> Callable[[int], None]:
    """Raises at that picture, after `seconds` in which the channels before it fill."""

    def before(count: int) -> None:
        if count == number:
            time.sleep(seconds)
            raise RuntimeError("the networks failed")

    return before
