"""What every backend is: a loaded network that turns normalised pictures into raw outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from config.plugins import PluginParams
from models.prediction import FloatArray


class BackendParams(PluginParams):
    """Parameters of every backend.

    device: `auto`, or a device as the library names it.
    threads: CPU threads; None leaves the choice to the library.
    """

    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkOutput:
    """Raw outputs for B pictures.

    Attributes:
        logits: (B, C) float32, before the calibration's temperature.
        class_map: (B, h, w) uint8 ADE20K ids.
        class_scores: (B, h, w) float32.
        gate: (B, h', w') float32 in 0..1.
    """

    logits: FloatArray
    class_map: NDArray[np.uint8]
    class_scores: FloatArray
    gate: FloatArray


class Backend(ABC):
    """A network on a device. Belongs to one thread at a time."""

    name: str
    device: str

    @abstractmethod
    def infer(self, pictures: FloatArray) -> NetworkOutput:
        """Run the network on (B, 3, H, W) float32 pictures, normalised as the model asks."""
