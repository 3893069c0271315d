"""`Frame`: what a source hands to the pipeline, with the time that the stream itself gives it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""An H×W×3 uint8 array in RGB order."""

Clock = Literal["source", "arrival", "file"]
"""How a capture time was had: the sender's clock, arrival at this machine, or decoding of a file."""

SOURCE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture of one source.

    Attributes:
        image: H×W×3 uint8, RGB, upright (rotation metadata applied), pixels as stored (pixel aspect not applied).
        pts: presentation time in units of `time_base`, as the stream has it.
        time_base: seconds per unit of `pts`.
        frame_id: 0, 1, 2... over all frames that the source decoded in this run, dropped ones included.
        source: the source's name; matches `SOURCE_NAME`.
        epoch: grows by one on a reconnect, a pts that runs backwards, or a loop; pts compare only within an epoch.
        t_capture_ns: Unix time of the capture in nanoseconds; `clock` says whose.
        clock: how `t_capture_ns` was had.
    """

    image: Picture
    pts: int
    time_base: Fraction
    frame_id: int
    source: str
    epoch: int
    t_capture_ns: int
    clock: Clock

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(f"a frame is HxWx3 uint8, not {self.image.dtype} {self.image.shape}")

    @property
    def seconds(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[0])
