"""What every backend is: a loaded network that turns pictures into raw outputs, normalising them itself.

A backend's file offers `build(params, package=...)`, which makes a `Backend` of a joint model, and
`compile_module(params, module, example_inputs)`, which makes a `CompiledModule` of any torch module. `TRACES` says
whether that goes by way of a traced graph. Such a graph loses whatever is no plain tensor operation, without a word:
the semantic stem's look-up must not be in it.
`openvino` offers `load_module(params, path)` as well, for a module that was written in 8 bits.

A backend and a compiled module belong to one thread at a time. For another thread there are lanes: `lane()` gives
another one over the same weights, with memory of its own for what is under way, at the price of that memory alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from config.plugins import PluginParams
from config.schema import Precision
from models.errors import ModelError
from models.prediction import FloatArray
from models.preprocess import Preprocess

Side = Literal["host", "device"]
Array = NDArray[Any]
Pictures = NDArray[np.uint8]


class BackendParams(PluginParams):
    """Parameters of every backend.

    device: `auto`, or a device as the library names it.
    threads: CPU threads of all lanes together; None leaves the choice to the library.
    precision: in which the layers compute; `auto` is what the model is known to say the same in (see
        `models.package.Manifest.precisions`), float32 for a module. Inputs and outputs stay as they are.
    lanes: how many will run side by side.
    """

    device: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    precision: Precision = "auto"
    lanes: int = Field(default=1, ge=1)


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
    """A network on a device. Belongs to one thread at a time.

    Attributes:
        name: as `--backend` names it.
        device: what it runs on.
        precision: in which its layers compute.
        resizes_on: where `infer_frames` resizes: on the `host`, or on the `device`, so that frames go up as they are.
    """

    name: str
    device: str
    precision: str
    resizes_on: Side = "host"

    @abstractmethod
    def infer(self, pictures: Pictures) -> NetworkOutput:
        """Run the network on (B, H, W, 3) uint8 RGB pictures of the model's size (see `Preprocess.squash`)."""

    def infer_frames(self, frames: Sequence[Pictures], preprocess: Preprocess) -> NetworkOutput:
        """Run the network on frames (H, W, 3) uint8 RGB, each of any size.

        Raises:
            ValueError: one is no such array, or is empty.
        """
        return self.infer(np.stack([preprocess.squash(frame) for frame in frames]))

    @abstractmethod
    def lane(self) -> Backend:
        """Another backend over the same loaded network, for a thread of its own."""


class CompiledModule(Protocol):
    """A torch module made ready to run, on arrays. Belongs to one thread at a time."""

    device: str

    def __call__(self, *inputs: Array) -> list[Array]:
        """The module's outputs, in their order, for inputs of the dtype and number of the examples.

        The results are the caller's own: the next call does not touch them.
        """

    def lane(self) -> CompiledModule:
        """Another one over the same weights, for a thread of its own."""


def precision_for(
    backend: str, device: str, wanted: Precision, known: Sequence[str], held: Sequence[str] = ("f32",)
) -> str:
    """The precision to compute in.

    Args:
        backend, device: for the message.
        wanted: as the user says; `auto` is the last of `known` that is also in `held`.
        known: what the backend has on the device, the quickest last.
        held: in which the model says the same as in float32.

    Raises:
        ModelError: what is wanted is not known; the message lists what is.
    """
    if wanted == "auto":
        return next((precision for precision in reversed(known) if precision in held), known[0])
    if wanted not in known:
        raise ModelError(
            f"{backend} computes in {' or '.join(known)} on {device}, not in {wanted}; use --precision {known[0]}"
        )
    return wanted
