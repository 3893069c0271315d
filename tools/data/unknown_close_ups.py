"""Parts of pictures so small that no scene is left: what a camera sees that is too near, or looks at a wall."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.data.manifest import ManifestError, PictureManifest
from tools.data.unknown_picture import Made, Picture, any_size, blurred, generator_for, with_grain

_Taker = Callable[[Picture, str, np.random.Generator], Picture | None]

# Nature looks alike from near and far: leaves blown up are a forest still, and a rock is a mountain. So parts are taken
# from what people built; not of the city either, as some windows of a facade are a city still.
_INDOORS = (
    "bathroom", "bedroom", "dining_room", "entrance_hall", "industrial", "kitchen", "living_room", "office", "store",
)  # fmt: skip
_OUTDOORS = ("highway", "house", "street")
BUILT = tuple(sorted((*_INDOORS, *_OUTDOORS)))
_LEAST_LINES = 200  # those of 150 lines give a dozen pixels

# Side of a close-up, in short sides of its picture: outdoors things are farther away, so less of the picture is one.
# And only of the lower part, below the horizon, where the ground is near.
_NEAR_INDOORS, _NEAR_OUTDOORS = (0.06, 0.14), (0.05, 0.085)
_BELOW_HORIZON = 0.58  # of the height
_LEAST_CONTRAST = 7.0  # grey levels; less is a plain colour
_MOST_BANDED = 0.6  # share of variance between rows; more may be read as a horizon
_BLUR, _GRAIN = (0.5, 3.0), (1.0, 7.0)  # pixels and grey levels of the enlarged picture

_PIECE = (0.18, 0.32)  # side of an even piece, in short sides
_EVEN = (1.8, 7.0)  # grey levels about a plane of light: neither a dead colour nor a thing
_TRIES = 60


def close_ups(manifest: PictureManifest, count: int, seed: int) -> Iterator[Made]:
    """Close-ups of `count` pictures, as many of each built scene, enlarged, a little blurred and grainy.

    Args:
        manifest: pictures with scenes, of one split.
        count: of close-ups, each from another picture.
        seed: of where they are cut.

    Raises:
        ManifestError: there are not enough pictures.
    """
    yield from _taken(manifest, BUILT, count, seed, _close_up, "close_up")


def even_pieces(manifest: PictureManifest, count: int, seed: int) -> Iterator[Made]:
    """Pieces of one thing alone (wall, floor, ceiling, sky, road), enlarged; arguments as of `close_ups`."""
    yield from _taken(manifest, BUILT, count, seed, _even_piece, "even")


def _taken(
    manifest: PictureManifest, scenes: Sequence[str], count: int, seed: int, take: _Taker, what: str
) -> Iterator[Made]:
    """From each scene in turn the next picture, in an order of chance, that has such a part."""
    order = generator_for(seed, what).permutation(len(manifest))
    waiting = {scene: [i for i in order if manifest.entries[i].scene == scene] for scene in scenes}
    made = 0
    while made < count:
        if not any(waiting.values()):
            raise ManifestError(f"{manifest.file} has pictures for {made} parts ({what}), not for {count}")
        for scene in scenes:
            found = None if made == count else _next(manifest, waiting[scene], seed, take)
            if found is not None:
                made += 1
                path, piece = found
                yield Made(f"{what}_{scene}_{made:04d}", path, piece)


def _next(manifest: PictureManifest, waiting: list[int], seed: int, take: _Taker) -> tuple[str, Picture] | None:
    while waiting:
        index = waiting.pop(0)
        entry, picture = manifest.entries[index], manifest[index]
        generator = generator_for(seed, entry.path)
        piece = take(picture, entry.scene, generator) if min(picture.shape[:2]) >= _LEAST_LINES else None
        if piece is not None:
            return entry.path, _enlarged(piece, generator)
    return None


def _close_up(picture: Picture, scene: str, generator: np.random.Generator) -> Picture | None:
    near, top = (_NEAR_OUTDOORS, _BELOW_HORIZON) if scene in _OUTDOORS else (_NEAR_INDOORS, 0.0)
    for _ in range(_TRIES):
        rows, columns = _window(picture.shape, generator.uniform(*near), generator, top)
        piece = picture[rows, columns]
        grey = _grey(piece)
        if grey.std() >= _LEAST_CONTRAST and grey.mean(axis=1).var() <= _MOST_BANDED * grey.var():
            return piece
    return None


def _even_piece(picture: Picture, _: str, generator: np.random.Generator) -> Picture | None:
    grey = _grey(picture)
    for _try in range(_TRIES):
        rows, columns = _window(picture.shape, generator.uniform(*_PIECE), generator)
        if _EVEN[0] <= _unevenness(grey[rows, columns]) <= _EVEN[1]:
            return picture[rows, columns]
    return None


def _unevenness(grey: NDArray[np.float32]) -> float:
    """Standard deviation about the plane that fits best, which is how light falls off along a wall."""
    y, x = np.mgrid[-1 : 1 : grey.shape[0] * 1j, -1 : 1 : grey.shape[1] * 1j]
    plane = np.stack([np.ones(grey.size), x.ravel(), y.ravel()], axis=1)
    rest = grey.ravel() - plane @ np.linalg.lstsq(plane, grey.ravel(), rcond=None)[0]
    return float(rest.std())


def _window(
    shape: tuple[int, ...], share: float, generator: np.random.Generator, below: float = 0.0
) -> tuple[slice, slice]:
    """A square window anywhere under `below` times the height, its side that share of the short side."""
    height, width = shape[:2]
    side = max(2, round(share * min(height, width)))
    top = int(generator.integers(min(round(below * height), height - side), height - side + 1))
    left = int(generator.integers(0, width - side + 1))
    return slice(top, top + side), slice(left, left + side)


def _enlarged(piece: Picture, generator: np.random.Generator) -> Picture:
    height, width = any_size(generator)
    side = max(height, width)
    large = cv2.resize(piece, (side, side), interpolation=cv2.INTER_CUBIC)[:height, :width]
    return with_grain(blurred(large, generator.uniform(*_BLUR)), generator, generator.uniform(*_GRAIN))


def _grey(picture: Picture) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)
