"""Training samples: which pictures an epoch takes, and what is done to each before the network sees it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from models.crops import Box
from tools.train.two_stage.cache import Pictures, View
from tools.train.two_stage.recipe import Augmentation

_MIDDLE_GREY = 128
_FULL = 255
_KEPT = 3  # classes of a pixel


class Sample(NamedTuple):
    """A picture as the network sees it; a batch has the same fields with a leading dimension.

    What the network does not take is empty: (0, 0, 3) or (3, 0, 0).
    """

    picture: NDArray[np.uint8]  # (224, 224, 3) RGB
    labels: NDArray[np.uint8]  # (3, 224, 224)
    scores: NDArray[np.uint8]  # (3, 224, 224)
    target: int


def epoch_rows(count: int, epoch: int, samples: int | None, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """The rows that an epoch takes, in their order, of `count` pictures.

    Pictures come in rounds, each a shuffle of all. An epoch of `samples` pictures goes on where the former one ended,
    so that all come equally often.
    """
    samples = samples or count
    places = np.arange(epoch * samples, (epoch + 1) * samples)
    rounds = {
        number: np.random.default_rng((*seed, number)).permutation(count) for number in np.unique(places // count)
    }
    return np.array([rounds[place // count][place % count] for place in places], dtype=np.int64)


class TrainingSamples(Dataset[Sample]):
    """One epoch's samples; sample i depends on (seed, stage, epoch, i) alone, so that a resumed run repeats them.

    Args:
        pictures: resized, with what the network takes of them.
        targets: (N,) the scene of each.
        rows: those to take, in their order.
        settings: ranges of the random changes.
        seed: (seed, stage, epoch).
    """

    def __init__(
        self,
        pictures: Pictures,
        targets: NDArray[np.int64],
        rows: NDArray[np.int64],
        settings: Augmentation,
        seed: tuple[int, ...],
    ) -> None:
        self.pictures, self.targets, self.rows = pictures, targets, rows
        self.settings, self.seed = settings, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((*self.seed, index))
        row = int(self.rows[index])
        view, side = self.pictures[row], self.pictures.crop.side
        view = cut(view, random_box(view.size, side, self.settings, rng), side)
        if view.maps is not None:
            view = view._replace(maps=drop_labels(view.maps, self.settings, rng))
        if view.picture is not None:
            view = view._replace(picture=change_colours(view.picture, self.settings, rng))
        return _sample(view, int(self.targets[row]))


class WatchedSamples(Dataset[Sample]):
    """The centre crops of pictures, as evaluation sees them."""

    def __init__(self, pictures: Pictures, targets: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        self.pictures, self.targets, self.rows = pictures, targets, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        row = int(self.rows[index])
        view, crop = self.pictures[row], self.pictures.crop
        shown = view.maps if view.picture is None else view.picture
        assert shown is not None
        return _sample(cut(view, crop.boxes(shown)[0], crop.side), int(self.targets[row]))


def random_box(size: tuple[int, int], side: int, settings: Augmentation, rng: np.random.Generator) -> Box:
    """A random place for a crop of `side` in a picture of `size` (height, width), perhaps mirrored."""
    top, left = (int(rng.integers(0, length - side + 1)) for length in size)
    return Box(top, left, bool(rng.random() < settings.mirror))


def cut(view: View, box: Box, side: int) -> View:
    """What a box shows of a picture and its semantics, as copies."""

    def shown(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        part = pixels[box.top : box.top + side, box.left : box.left + side]
        return np.array(part[:, ::-1] if box.mirrored else part)

    return View(*(None if pixels is None else shown(pixels) for pixels in view))


def change_colours(picture: NDArray[np.uint8], settings: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, contrast, noise, brightness of (H, W, 3) uint8, in this order, kept in 0..255 after all of them."""
    values = picture.astype(np.float32)
    blurred, sigma = rng.random() < settings.blur, rng.uniform(0, settings.blur_sigma)
    if blurred and sigma > 0:
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)
    values = (values - _MIDDLE_GREY) * np.float32(rng.uniform(*settings.contrast)) + _MIDDLE_GREY
    strength = np.float32(rng.uniform(0, settings.noise) * _FULL)
    values += strength * rng.standard_normal(values.shape, dtype=np.float32)
    values *= np.float32(rng.uniform(*settings.brightness))
    return np.rint(values.clip(0, _FULL)).astype(np.uint8)


def drop_labels(maps: NDArray[np.uint8], settings: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Set all labels of random pixels of (H, W, 6) to 0, which the +1 then makes channel 1; their scores stay."""
    share = rng.uniform(*settings.drop)
    dropped = rng.random(maps.shape[:2], dtype=np.float32) < share
    maps[..., :_KEPT][dropped] = 0
    return maps


def _sample(view: View, target: int) -> Sample:
    picture = np.empty((0, 0, _KEPT), np.uint8) if view.picture is None else view.picture
    maps = np.empty((0, 0, 2 * _KEPT), np.uint8) if view.maps is None else view.maps
    planes = np.ascontiguousarray(maps.transpose(2, 0, 1))
    return Sample(np.ascontiguousarray(picture), planes[:_KEPT], planes[_KEPT:], target)
