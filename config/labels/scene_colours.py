"""Colours of scenes: natural where people expect one (a forest is green), else by the scene's name.

The same scene has the same colour in every picture and on every page, as far as scenes that stand side by side can be
told apart. All of them are light enough for dark type and dark enough to be seen on white.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable

from config.labels.palette import oklch_to_srgb

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

UNKNOWN: Colour = (139, 147, 158)
"""The colour of the time without a scene."""

# Hue in degrees, lightness, chroma of OKLCH.
_NATURAL = {
    "bathroom": (205, 0.78, 0.10),
    "bedroom": (320, 0.66, 0.15),
    "city": (285, 0.62, 0.15),
    "coast": (235, 0.72, 0.13),
    "dining_room": (45, 0.70, 0.15),
    "entrance_hall": (75, 0.66, 0.09),
    "forest": (148, 0.58, 0.14),
    "glacier": (215, 0.86, 0.07),
    "highway": (265, 0.58, 0.12),
    "house": (30, 0.62, 0.13),
    "industrial": (60, 0.56, 0.08),
    "kitchen": (90, 0.83, 0.16),
    "living_room": (10, 0.68, 0.17),
    "mountain": (300, 0.72, 0.09),
    "office": (180, 0.68, 0.12),
    "open_country": (125, 0.78, 0.17),
    "store": (345, 0.62, 0.19),
    "street": (255, 0.76, 0.10),
}
_HUES = 24
_TIERS = ((0.72, 0.14), (0.60, 0.14), (0.82, 0.11))
_SLOTS = _HUES * len(_TIERS)


def scene_colours(scenes: Iterable[str]) -> dict[str, Colour]:
    """A colour for each scene; two of them differ as long as there are fewer than 72 without a natural colour."""
    colours, taken = {}, set[int]()
    for scene in sorted(set(scenes)):
        if scene in _NATURAL:
            colours[scene] = _srgb(*_NATURAL[scene])
            continue
        wanted = zlib.crc32(scene.encode()) % _SLOTS
        slot = next((s % _SLOTS for s in range(wanted, wanted + _SLOTS) if s % _SLOTS not in taken), wanted)
        taken.add(slot)
        hue, tier = divmod(slot, len(_TIERS))
        colours[scene] = _srgb(360 * hue / _HUES, *_TIERS[tier])
    return colours


def _srgb(hue: float, lightness: float, chroma: float) -> Colour:
    red, green, blue = oklch_to_srgb(lightness, chroma, math.radians(hue))
    return red, green, blue
