"""Shapes on a picture, painted in place: frosted panels, rounded bars, masks of type. All of them may be clipped."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from streamer.frame import Picture
from streamer.text import Mask

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels: its left upper corner, width and height."""

    x: int
    y: int
    w: int
    h: int

    def clipped(self, width: int, height: int) -> Box:
        """The part of it that lies in a picture of that size; possibly empty."""
        x, y = min(max(self.x, 0), width), min(max(self.y, 0), height)
        return Box(x, y, max(0, min(self.x + self.w, width) - x), max(0, min(self.y + self.h, height) - y))


def rounded(width: int, height: int, radius: float, filled: float | None = None) -> Mask:
    """Mask of a rounded rectangle with smooth edges.

    Args:
        width, height: size of the mask in pixels.
        radius: of the corners, in pixels.
        filled: width of the shape within the mask, in pixels and fractions; default: all of it.
    """
    shape_width = float(width) if filled is None else filled
    radius = min(radius, shape_width / 2, height / 2)
    x = np.abs(np.arange(width, dtype=np.float32) + 0.5 - shape_width / 2) - (shape_width / 2 - radius)
    y = np.abs(np.arange(height, dtype=np.float32) + 0.5 - height / 2) - (height / 2 - radius)
    outside = np.hypot(np.maximum(x, 0)[None, :], np.maximum(y, 0)[:, None])
    distance = outside + np.minimum(np.maximum(x[None, :], y[:, None]), 0) - radius
    return np.asarray(np.clip(0.5 - distance, 0, 1) * 255, dtype=np.uint8)


def paint(canvas: Picture, mask: Mask, x: int, y: int, colour: Colour, opacity: float = 1.0) -> None:
    """Cover `canvas` with `colour` where `mask` says so; the mask's left upper corner lies at (x, y)."""
    box = Box(x, y, mask.shape[1], mask.shape[0]).clipped(canvas.shape[1], canvas.shape[0])
    if box.w == 0 or box.h == 0:
        return
    region = canvas[box.y : box.y + box.h, box.x : box.x + box.w]
    alpha = mask[box.y - y : box.y - y + box.h, box.x - x : box.x - x + box.w]
    if opacity < 1.0:
        alpha = np.asarray(cv2.convertScaleAbs(alpha, alpha=opacity), dtype=np.uint8)
    ink = cv2.merge([cv2.convertScaleAbs(alpha, alpha=channel / 255) for channel in colour])
    region[:] = cv2.add(_dimmed(region, alpha), ink)


def mix(under: Picture, over: Picture, alpha: Mask) -> Picture:
    """`over` laid on `under` (both H×W×3) as far as `alpha` (H×W) says."""
    rest = np.asarray(cv2.bitwise_not(alpha), dtype=np.uint8)
    return np.asarray(cv2.add(_dimmed(under, alpha), _dimmed(over, rest)), dtype=np.uint8)


def _dimmed(picture: Picture, alpha: Mask) -> Picture:
    """What is left of `picture` below something that covers it as far as `alpha` says."""
    left = cv2.bitwise_not(alpha)
    return np.asarray(cv2.multiply(picture, cv2.merge([left, left, left]), scale=1 / 255), dtype=np.uint8)


def bar(canvas: Picture, box: Box, share: float, colour: Colour, track: Colour, track_opacity: float = 0.18) -> None:
    """A slim rounded bar, filled from the left to `share` (0..1) with fractions of a pixel, so that it never jumps.

    Less than a third of its height is not drawn: a share of nothing shall look like nothing.
    """
    if box.w <= 0 or box.h <= 0:
        return
    paint(canvas, rounded(box.w, box.h, box.h / 2), box.x, box.y, track, track_opacity)
    filled = min(max(share, 0.0), 1.0) * box.w
    if filled > box.h / 3:
        # Never narrower than its own height, or the round ends would make it look thinner than it is.
        filled = max(filled, float(min(box.h, box.w)))
        mask = rounded(int(np.ceil(filled)), box.h, box.h / 2, filled)
        paint(canvas, mask, box.x, box.y, colour)


def frosted(canvas: Picture, box: Box, radius: int, colour: Colour, opacity: float) -> None:
    """A panel of dark frosted glass: the picture below is blurred, so that its detail does not disturb the type."""
    box = box.clipped(canvas.shape[1], canvas.shape[0])
    if box.w == 0 or box.h == 0:
        return
    region = canvas[box.y : box.y + box.h, box.x : box.x + box.w]
    glass = _glass(region, max(4, radius), colour, opacity)
    radius = min(radius, box.w // 2, box.h // 2)
    if radius == 0:
        region[:] = glass
        return
    corner = rounded(2 * radius, 2 * radius, radius)
    near, far = slice(0, radius), slice(-radius, None)
    # Only the corners need blending; the rest of the panel is copied.
    for rows in (near, far):
        for columns in (near, far):
            glass[rows, columns] = mix(region[rows, columns], glass[rows, columns], corner[rows, columns])
    region[:] = glass


def _glass(region: Picture, blur: int, colour: Colour, opacity: float) -> Picture:
    height, width = region.shape[:2]
    small_size = (max(1, width // blur), max(1, height // blur))
    # Sampled by nearest first: an exact mean over a large panel costs more than the eye can see after the blur.
    sampled = region[:: max(1, blur // 4), :: max(1, blur // 4)]
    small = cv2.GaussianBlur(cv2.resize(sampled, small_size, interpolation=cv2.INTER_AREA), (3, 3), 0)
    small = cv2.addWeighted(small, 1 - opacity, np.full_like(small, colour), opacity, 0)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
