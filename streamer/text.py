"""Type for annotated pictures: words become alpha masks through FreeType, and a bounded cache keeps them."""

from __future__ import annotations

import unicodedata
from collections import OrderedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Mask = NDArray[np.uint8]
"""An H×W uint8 array: 0 leaves the picture alone, 255 covers it."""

BASELINE = 0.78
"""Where letters stand, as a share of a line's height from its top."""

# Glyphs are drawn larger and shrunk: that smooths them and allows strokes of a fraction of a pixel.
_SUPERSAMPLING = 4
_REGULAR_STROKE = 0.008
_BOLD_STROKE = 0.032


class Typesetter:
    """Draws single lines in Pillow's own typeface (no font file is needed) and keeps the masks it has drawn.

    The typeface knows Latin letters without accents, so accents are dropped and other scripts show as "?".

    Args:
        cache_bytes: the most memory that kept masks take; the longest unused go first.
    """

    def __init__(self, cache_bytes: int = 16 << 20) -> None:
        self._cache_bytes = cache_bytes
        self._cached: OrderedDict[tuple[str, int, bool], Mask] = OrderedDict()
        self._held_bytes = 0

    def line(self, text: str, size: int, *, bold: bool = False) -> Mask:
        """Mask of one line, `size` pixels high, as wide as the words; letters stand at `BASELINE`."""
        key = (text, size, bold)
        mask = self._cached.get(key)
        if mask is None:
            mask = _rasterise(_plain(text), size, _BOLD_STROKE if bold else _REGULAR_STROKE)
            self._keep(key, mask)
        self._cached.move_to_end(key)
        return mask

    def fit(self, text: str, size: int, width: int, *, bold: bool = False, smallest: int | None = None) -> Mask:
        """Mask at most `width` pixels wide: in smaller type down to `smallest`, and cut short with "…" after that."""
        mask = self.line(text, size, bold=bold)
        floor = size if smallest is None else min(size, smallest)
        if mask.shape[1] > width and size > floor:
            size = max(floor, size * width // mask.shape[1])
            mask = self.line(text, size, bold=bold)
        if mask.shape[1] <= width:
            return mask
        keep = max(0, min(len(text) - 1, len(text) * width // mask.shape[1]))
        while keep > 0 and self.line(text[:keep].rstrip() + "…", size, bold=bold).shape[1] > width:
            keep -= 1
        return self.line(text[:keep].rstrip() + "…", size, bold=bold)[:, : max(1, width)]

    def _keep(self, key: tuple[str, int, bool], mask: Mask) -> None:
        self._cached[key] = mask
        self._held_bytes += mask.nbytes
        while self._held_bytes > self._cache_bytes and len(self._cached) > 1:
            _, oldest = self._cached.popitem(last=False)
            self._held_bytes -= oldest.nbytes


def _rasterise(text: str, size: int, stroke: float) -> Mask:
    large = size * _SUPERSAMPLING
    font = ImageFont.load_default(size=large)
    width = max(1, round(font.getlength(text) / _SUPERSAMPLING))
    canvas = Image.new("L", (width * _SUPERSAMPLING, large), 0)
    line = ImageDraw.Draw(canvas)
    line.text((0, large * BASELINE), text, font=font, fill=255, anchor="ls", stroke_width=round(large * stroke))
    shrunk = cv2.resize(np.asarray(canvas), (width, size), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, dtype=np.uint8)


def _plain(text: str) -> str:
    """`text` in the characters that the typeface has."""
    return "".join(c if c in "…·" else _plain_character(c) for c in text)


def _plain_character(character: str) -> str:
    base = unicodedata.normalize("NFKD", character)
    letters = "".join(c for c in base if not unicodedata.combining(c)).encode("ascii", "replace").decode("ascii")
    return letters if letters.isprintable() else " "
