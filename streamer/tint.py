"""What the networks look at, laid over the picture: colours of the class map, heat of the gate or of an activation."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from models.prediction import WHOLE, FloatArray, View
from streamer.frame import Picture

# Size to which a class map grows with smooth outlines before its colours are stretched over the picture, in pixels of
# its longer side: enough that no pixel of the map is seen, little enough to cost nothing.
_OUTLINE_SIZE = 224
# A picture has hardly more classes that cover anything; the smallest ones dissolve into their neighbours.
_MOST_REGIONS = 12
_HEAT_STRENGTH = 0.55
_UNSEEN = 0.45  # brightness that is left of what lies outside the view
SPAN_OF_GATE = 0.2
SPAN_OF_ACTIVATION = 1.0  # of a logit


def tint(image: Picture, class_map: NDArray[np.uint8], palette: NDArray[np.uint8], strength: float) -> Picture:
    """A copy of the picture in the colours of its classes.

    Args:
        image: H×W×3 uint8 RGB; left as it is.
        class_map: (h, w) uint8 class ids over the whole picture; where it is 0 nothing is tinted.
        palette: (classes, 3) uint8 RGB, a row per id; larger ids are not tinted.
        strength: 0..1, share of the colours.
    """
    ids = np.where(class_map < len(palette), class_map, 0).astype(np.uint8)
    regions = smooth_regions(ids)
    size = (image.shape[1], image.shape[0])
    # Outlines of the enlarged map are softened once more, or its pixels would show as steps at 4K.
    soft = cv2.GaussianBlur(cv2.applyColorMap(regions, _colour_table(palette)), (5, 5), 0)
    tinted = cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR)
    # Written over the colours: a second array of the picture's size would cost more than the arithmetic.
    cv2.addWeighted(image, 1 - strength, tinted, strength, 0, dst=tinted)
    if not regions.all():
        bare = cv2.GaussianBlur(_where(regions, 0), (5, 5), 0)
        bare = cv2.resize(bare, size, interpolation=cv2.INTER_LINEAR)
        cv2.copyTo(image, cv2.threshold(bare, 127, 255, cv2.THRESH_BINARY)[1], tinted)
    return np.asarray(tinted, dtype=np.uint8)


def _colour_table(palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The palette as OpenCV takes it: 256 rows, (256, 1, 3)."""
    table = np.zeros((256, 1, 3), dtype=np.uint8)
    table[: len(palette), 0] = palette
    return table


def _where(class_map: NDArray[np.uint8], class_id: int) -> NDArray[np.uint8]:
    """255 where the map has that class, else 0."""
    return np.equal(class_map, class_id).view(np.uint8) * np.uint8(255)


def smooth_regions(class_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A small class map (h, w) enlarged with round outlines instead of steps; ids are never mixed."""
    height, width = class_map.shape
    scale = _OUTLINE_SIZE / max(height, width)
    if scale <= 1:
        return class_map
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    counts = np.bincount(class_map.ravel())
    largest = np.argsort(-counts, kind="stable")[:_MOST_REGIONS]
    regions = np.zeros(size[::-1], dtype=np.uint8)
    best = np.zeros(size[::-1], dtype=np.uint8)
    for class_id in largest[counts[largest] > 0]:
        share = cv2.GaussianBlur(_where(class_map, int(class_id)), (3, 3), 0)
        share = cv2.resize(share, size, interpolation=cv2.INTER_LINEAR)
        regions[share > best] = class_id
        cv2.max(best, share, dst=best)
    return regions


def heat(image: Picture, values: FloatArray, view: View = WHOLE, smallest_span: float = SPAN_OF_GATE) -> Picture:
    """A copy of the picture, bright where values are largest and dark where they are smallest.

    Args:
        image: H×W×3 uint8 RGB; left as it is.
        values: (h', w'), of a gate or an activation map.
        view: the part of the picture that they cover; the rest is dimmed, for no network has looked at it.
        smallest_span: contrast is stretched until the extremes of the values are that far apart at least: a map that
            is everywhere alike must not show as noise.
    """
    rows, columns = _share(view.top, view.bottom, image.shape[0]), _share(view.left, view.right, image.shape[1])
    seen = image[rows, columns]
    small = cv2.resize(_stretch(values, smallest_span), (_OUTLINE_SIZE, _OUTLINE_SIZE), interpolation=cv2.INTER_CUBIC)
    of_values = heat_colours(np.asarray(small, dtype=np.uint8))
    colours = cv2.resize(of_values, (seen.shape[1], seen.shape[0]), interpolation=cv2.INTER_LINEAR)
    cv2.addWeighted(seen, 1 - _HEAT_STRENGTH, colours, _HEAT_STRENGTH, 0, dst=colours)
    if view == WHOLE:
        return np.asarray(colours, dtype=np.uint8)
    result = np.asarray(cv2.convertScaleAbs(image, alpha=_UNSEEN), dtype=np.uint8)
    result[rows, columns] = colours
    return result


def _share(begin: float, end: float, length: int) -> slice:
    """The pixels of a side that lie between two shares of it, one at least."""
    first = min(max(round(begin * length), 0), length - 1)
    return slice(first, max(round(end * length), first + 1))


def heat_colours(values: NDArray[np.uint8]) -> Picture:
    """H×W uint8 values as H×W×3 RGB of a colour map whose lightness grows evenly (Inferno)."""
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _stretch(values: FloatArray, smallest_span: float) -> NDArray[np.uint8]:
    """Values between their own extremes as 0..255; nearly flat ones stay nearly flat."""
    finite = np.nan_to_num(np.asarray(values, dtype=np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    missing = max(0.0, smallest_span - (high - low))
    low, span = low - missing / 2, max(high - low, smallest_span)
    return np.asarray(np.clip((finite - low) / span, 0, 1) * 255, dtype=np.uint8)
