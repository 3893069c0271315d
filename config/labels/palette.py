"""Colours of the ADE20K classes: natural where people expect one (sky is blue), else spread over the hues.

The others walk round the hue circle of OKLCH by the golden angle, in four tiers of lightness and chroma, so that
neighbours in the list differ. OKLCH to sRGB: Björn Ottosson, "A perceptual color space for image processing", 2020.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

CLASSES = 150

# Neutral, because id 0 means "none of the segmenter's classes".
_NONE = "808080"

_NATURAL = {
    1: "c8b8a0",  # wall
    2: "b5715a",  # building
    3: "7ec4f4",  # sky
    4: "9c7248",  # floor
    5: "2f8f3a",  # tree
    6: "e4ddd0",  # ceiling
    7: "7c7690",  # road
    8: "c86fa0",  # bed
    9: "a4dfe6",  # windowpane
    10: "7fc93c",  # grass
    11: "a8763c",  # cabinet
    12: "b4acc4",  # sidewalk
    13: "e5323b",  # person
    14: "8a6038",  # earth
    15: "c48a3a",  # door
    16: "d99a4e",  # table
    17: "8d8f7a",  # mountain
    18: "52b45c",  # plant
    19: "b24a8e",  # curtain
    20: "e8862e",  # chair
    21: "2f55d4",  # car
    22: "3f8fd2",  # water
    23: "d0609a",  # painting
    24: "a050c0",  # sofa
    26: "c25a48",  # house
    27: "1f6fb8",  # sea
    28: "b8e0e8",  # mirror
    29: "a8384c",  # rug
    30: "b8cc5a",  # field
    35: "8c8880",  # rock
    37: "f6d650",  # lamp
    47: "e6cf8e",  # sand
    48: "8fd0d8",  # sink
    49: "9a6a78",  # skyscraper
    53: "b09a78",  # path
    55: "686878",  # runway
    61: "4aa4dc",  # river
    67: "f070a8",  # flower
    69: "86a862",  # hill
    73: "3aa868",  # palm
    81: "f2b81c",  # bus
    83: "fff0a0",  # light
    84: "5a4ad8",  # truck
    91: "c4d0e4",  # airplane
    93: "d878c0",  # apparel
    95: "9a7a50",  # land
    103: "4a7af0",  # van
    104: "405a80",  # ship
    110: "28c8e0",  # swimming pool
    114: "a0d8f8",  # waterfall
    117: "c03ad0",  # minibike
    127: "b86a20",  # animal
    128: "8a2ae0",  # bicycle
    129: "2a84c4",  # lake
    137: "f0c000",  # traffic light
}

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
# (lightness, chroma) in OKLCH: inside sRGB for most hues, readable over a picture.
_TIERS = ((0.72, 0.14), (0.56, 0.16), (0.85, 0.09), (0.64, 0.09))


def ade20k_palette() -> NDArray[np.uint8]:
    """(151, 3) uint8 sRGB in the order red, green, blue: row i is the colour of ADE20K id i, row 0 of "none"."""
    codes = [_NATURAL.get(number) or _spread(number) for number in range(1, CLASSES + 1)]
    return np.array([list(bytes.fromhex(code)) for code in (_NONE, *codes)], dtype=np.uint8)


def _spread(number: int) -> str:
    lightness, chroma = _TIERS[number % len(_TIERS)]
    return bytes(oklch_to_srgb(lightness, chroma, number * _GOLDEN_ANGLE)).hex()


def oklch_to_srgb(lightness: float, chroma: float, hue: float) -> list[int]:
    """8-bit sRGB of a colour with lightness 0..1, chroma and hue in radians; out of gamut is clipped."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return [round(255 * _companded(min(max(value, 0.0), 1.0))) for value in linear]


def _companded(linear: float) -> float:
    """The transfer curve of sRGB (IEC 61966-2-1)."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055
