"""What the network sees of a training picture: the whole of it, and random changes of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.preprocess import Preprocess, squash
from tools.train import augment
from tools.train.recipe import Augmentation

_SETTINGS = Augmentation(scale=(0.4, 1.0), ratio=(0.65, 1.6), grey=0.15, jitter=0.3, degrade=0.25)
_TINT = 0.3  # how often the light has an odd colour: a camera's white balance is not the next one's
_LARGER = 1.5  # what random parts are cut from, in sides of the network's input: few of them get blurred


def all_views(
    picture: augment.Picture, count: int, preprocess: Preprocess, seed: tuple[int, ...]
) -> NDArray[np.float32]:
    """(1 + count, 3, height, width) float32, normalised: the whole picture as in use, then `count` random changes.

    Args:
        picture: (H, W, 3) uint8 RGB, any size.
        preprocess: of the model.
        seed: the changes depend on it alone.
    """
    views = [preprocess(picture)]
    if count:
        size = max(preprocess.width, preprocess.height)
        side = round(_LARGER * size)
        square = squash(picture, side, side)
        rng = np.random.default_rng(seed)
        views += [preprocess(_changed(square, size, rng)) for _ in range(count)]
    return np.stack(views)


def _changed(square: augment.Picture, size: int, rng: np.random.Generator) -> augment.Picture:
    """A random part of a square picture, (size, size, 3) uint8, in other light and from a worse camera."""
    rgb = augment.crop(square, augment.random_box(len(square), _SETTINGS, rng), size)
    if rng.random() < 0.5:
        rgb = np.ascontiguousarray(rgb[:, ::-1])
    if rng.random() < _SETTINGS.grey:
        rgb = augment.to_grey(rgb)
    if rng.random() < _TINT:
        rgb = augment.tint(rgb, rng)
    rgb = augment.jitter(rgb, _SETTINGS.jitter, rng)
    return augment.degrade(rgb, rng) if rng.random() < _SETTINGS.degrade else rgb
