"""What every backend is: a loaded network that turns normalised pictures into raw outputs.

A backend's file offers `build(params, package=...)`, which makes a `Backend` of a joint model, and
`compile_module(params, module, example_inputs)`, which makes a `CompiledModule` of any torch module. `TRACES` says
whether that goes by way of a traced graph. Such a graph loses whatever is no plain tensor operation, without a word:
the semantic stem's look-up must not be in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from config.plugins import PluginParams
from models.prediction import FloatArray

Array = NDArray[Any]


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
        activation: (B, h', w') float32, what each place adds to the logit of the best scene; None from a graph that
            was written before there was such an output.
        unknown: (B,) float32 logit that a picture shows none of the scenes; None likewise.
    """

    logits: FloatArray
    class_map: NDArray[np.uint8]
    class_scores: FloatArray
    gate: FloatArray
    activation: FloatArray | None = None
    unknown: FloatArray | None = None


class Backend(ABC):
    """A network on a device. Belongs to one thread at a time."""

    name: str
    device: str

    @abstractmethod
    def infer(self, pictures: FloatArray) -> NetworkOutput:
        """Run the network on (B, 3, H, W) float32 pictures, normalised as the model asks."""

    @abstractmethod
    def lane(self) -> Backend:
        """Another one over the same compiled network, for another thread: they may run at the same time."""


class CompiledModule(Protocol):
    """A torch module made ready to run, on arrays. Belongs to one thread at a time."""

    device: str

    def __call__(self, *inputs: Array) -> list[Array]:
        """The module's outputs, in their order, for inputs of the dtype and number of the examples.

        The results are the caller's own: the next call does not touch them.
        """
