"""`synthetic:`, a moving test pattern with exact times; every frame carries its number in readable bits.

`synthetic:?width=640&height=360&fps=30000/1001&frames=100&realtime=1&seed=0`
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from config.plugins import PluginParams
from streamer.frame import Picture
from streamer.sources.base import Decoded, Source, SourceInfo

_BITS = 32
_STEP_PX = 4  # movement of the pattern from frame to frame


class Params(PluginParams):
    """What the pattern looks like, how fast it comes, and when it ends."""

    width: int = Field(640, ge=_BITS, le=16_384)
    height: int = Field(360, ge=8, le=16_384)
    fps: str = Field("25", description="frames per second, as 25, 29.97 or 30000/1001")
    frames: int | None = Field(None, ge=1, description="end after that many; default: never")
    realtime: bool = Field(False, description="act like a camera: live, at that frame rate")
    seed: int = Field(0, ge=0, description="another pattern")

    @field_validator("fps", mode="before")
    @classmethod
    def _fraction(cls, value: object) -> str:
        try:
            rate = Fraction(str(value).strip())
        except (ValueError, ZeroDivisionError):
            raise ValueError("a frame rate looks like 25, 29.97 or 30000/1001") from None
        if not 0 < rate <= 1000:
            raise ValueError("a frame rate lies above 0 and up to 1000")
        return str(rate)

    @model_validator(mode="after")
    def _stoppable(self) -> Self:
        if self.realtime and self.rate < Fraction(1, 2):
            raise ValueError("in real time the frame rate is at least 1/2: a stop waits for the frame under way")
        return self

    @property
    def rate(self) -> Fraction:
        """Frames per second, exact."""
        return Fraction(self.fps)


def build(params: Params, *, uri: str, name: str) -> SyntheticSource:
    """The test pattern; `uri` says nothing that `params` do not."""
    return SyntheticSource(params, uri, name)


class SyntheticSource(Source):
    """The test pattern. pts is the frame's number since opening, the time base one over the frame rate."""

    def __init__(self, params: Params, uri: str, name: str) -> None:
        super().__init__(name, uri)
        self.clock = "arrival" if params.realtime else "file"
        self._params = params
        self._open_now = False

    def close(self) -> None:
        """End the pattern."""
        self._open_now = False

    def _open(self) -> SourceInfo:
        p = self._params
        self._open_now = True
        return SourceInfo(self.name, self.uri, p.realtime, p.width, p.height, 1 / p.rate, p.rate, p.frames)

    def _decode(self) -> Iterator[Decoded]:
        p = self._params
        texture = make_texture(p.width, p.height, p.seed)
        started = time.monotonic()
        number = 0
        while self._open_now and (p.frames is None or number < p.frames):
            if p.realtime:
                time.sleep(max(0.0, started + float(number / p.rate) - time.monotonic()))
            yield Decoded(draw(texture, number), number, 1 / p.rate, time.time_ns())
            number += 1


def make_texture(width: int, height: int, seed: int) -> Picture:
    """Smooth coloured stripes, height×(2·width)×3 uint8; they repeat after `width` columns, so they can move on."""
    rng = np.random.default_rng(seed)
    waves = rng.integers(1, 5, 3)
    phase = rng.uniform(0, 2 * np.pi, 3)
    x = np.arange(2 * width)[None, :, None] * (2 * np.pi / width)
    y = np.arange(height)[:, None, None] * (2 * np.pi / height)
    return np.asarray(127.5 + 100 * np.sin(waves * x + y + phase), np.uint8)


def draw(texture: Picture, number: int) -> Picture:
    """Frame `number`: the texture moved on, and the number in a row of black and white squares at the top left."""
    height, width = texture.shape[0], texture.shape[1] // 2
    shift = number * _STEP_PX % width
    image = texture[:, shift : shift + width].copy()
    side = _square_px(height, width)
    bits = (number >> np.arange(_BITS, dtype=np.int64)) & 1
    row = np.repeat(bits * 255, side).astype(np.uint8)
    image[:side, : row.size] = row[None, :, None]
    return image


def read_number(image: Picture) -> int:
    """The number of a frame that `draw` made; survives lossy coding, not scaling."""
    side = _square_px(*image.shape[:2])
    squares = image[:side, : side * _BITS].reshape(side, _BITS, side, 3).mean(axis=(0, 2, 3))
    return int(sum(1 << i for i, value in enumerate(squares) if value > 127))


def _square_px(height: int, width: int) -> int:
    return max(1, min(16, width // _BITS, height))
