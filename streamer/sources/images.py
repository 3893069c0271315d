"""Pictures: a single one, a folder or a glob, in natural order, each a frame.

Transparent pictures are shown on black; 16-bit ones keep their upper eight bits; EXIF orientation is applied.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from pydantic import PositiveFloat, PositiveInt

from config.plugins import PluginParams
from streamer.errors import SourceError
from streamer.frame import Picture
from streamer.sources._listing import find_pictures
from streamer.sources.base import Decoded, Source, SourceInfo

_log = logging.getLogger(__name__)
_WARNINGS = threading.Lock()  # Python's warning filters belong to the whole process


class Params(PluginParams):
    """Timing and limits.

    Attributes:
        seconds_per_picture: seconds from a picture to the next.
        max_pixels: larger pictures count as broken; three bytes of memory a pixel, several times over.
    """

    seconds_per_picture: PositiveFloat = 1.0
    max_pixels: PositiveInt = 100_000_000


def build(params: Params, *, uri: str, name: str) -> ImagesSource:
    """The source for a picture, a folder or a glob."""
    return ImagesSource(params, uri, name)


class ImagesSource(Source):
    """Pictures in natural order; pts is the picture's index in that order, so a broken one leaves a gap."""

    def __init__(self, params: Params, uri: str, name: str) -> None:
        super().__init__(name, uri)
        self.clock = "file"
        self._params = params
        self._time_base = Fraction(params.seconds_per_picture).limit_denominator(1_000_000)
        self._shots_left: Iterator[Decoded] | None = None

    def close(self) -> None:
        """Forget the pictures that are left."""
        self._shots_left = None

    def _open(self) -> SourceInfo:
        paths = find_pictures(self.uri)
        if not paths:
            raise SourceError(f"{self.uri}: no pictures there")
        shots = self._read_all(paths)
        # The first good picture is read now: it gives the size, and shows that there is one.
        first = next(shots)
        self._shots_left = chain([first], shots)
        height, width = first.image.shape[:2]
        return SourceInfo(
            self.name, self.uri, False, width, height, self._time_base, 1 / self._time_base, frame_count=len(paths)
        )

    def _decode(self) -> Iterator[Decoded]:
        while self._shots_left is not None and (shot := next(self._shots_left, None)) is not None:
            yield shot

    def _read_all(self, paths: list[Path]) -> Iterator[Decoded]:
        """Every picture that can be read. Raises SourceError if there is none."""
        good, fault = 0, ""
        for index, path in enumerate(paths):
            try:
                image = read_picture(path, self._params.max_pixels)
            except SourceError as error:
                fault = str(error)
                self.decode_drops += 1
                if len(paths) > 1:
                    _log.warning("%s; left out", error)
                continue
            good += 1
            yield Decoded(image, index, self._time_base, time.time_ns())
        if good == 0:
            raise SourceError(fault if len(paths) == 1 else f"{self.uri}: none of {len(paths)} pictures can be read")


def read_picture(path: Path, max_pixels: int = 100_000_000) -> Picture:
    """A picture file as H×W×3 uint8 RGB, upright, transparent parts on black.

    Args:
        path: any format that Pillow reads.
        max_pixels: limit of width times height, against files that unpack to more than the memory holds.

    Raises:
        SourceError: no picture, a damaged one, or one that is too large.
    """
    try:
        with _WARNINGS, warnings.catch_warnings():
            # Pillow guesses at too large a size; `max_pixels` decides. Odd metadata is no reason to refuse a picture.
            warnings.simplefilter("ignore")
            opened = Image.open(path)
        with opened as picture:
            if picture.width * picture.height > max_pixels:
                raise SourceError(_too_large(path, picture.size, max_pixels))
            picture.load()
            return _upright_rgb(picture)
    except Image.DecompressionBombError:
        raise SourceError(f"{path} is too large: the limit is {max_pixels:,} pixels; scale it down") from None
    except SourceError:
        raise
    except Exception as error:  # decoders of broken files raise nearly everything
        raise SourceError(f"{path} is no picture that can be read ({type(error).__name__})") from error


def _too_large(path: Path, size: tuple[int, int], limit: int) -> str:
    return f"{path} has {size[0]}x{size[1]} pixels, the limit is {limit:,}; scale it down"


def _upright_rgb(picture: Image.Image) -> Picture:
    turned = ImageOps.exif_transpose(picture)
    if turned.mode.startswith(("I", "F")):
        return _from_deep_grey(turned)
    if turned.has_transparency_data:
        colour = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour)
    return np.array(turned.convert("RGB"), np.uint8)


def _from_deep_grey(picture: Image.Image) -> Picture:
    """16-bit grey, also in Pillow's 32-bit mode, and floating point from 0 to 1."""
    values = np.asarray(picture)
    if values.dtype.kind == "f":
        grey = np.clip(np.nan_to_num(values) * 255, 0, 255).astype(np.uint8)
    else:
        grey = (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
