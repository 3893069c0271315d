"""`Engine`: which library runs the networks, on what and how; one value from `load_recognizer` down to the backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from config.plugins import PluginParams
from config.schema import Precision
from models.backends import BACKENDS
from models.backends.base import Backend, CompiledModule
from models.package import ModelPackage

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Engine"]


@dataclass(frozen=True, slots=True)
class Engine:
    """A backend and its parameters.

    Attributes:
        name: the backend, as `--backend` names it; not `auto`.
        device, threads, precision, lanes: see `models.backends.base.BackendParams`.
    """

    name: str
    device: str = "auto"
    threads: int | None = None
    precision: Precision = "auto"
    lanes: int = 1

    @property
    def traces(self) -> bool:
        """Whether modules go by way of a traced graph; see `models.backends.base`."""
        return bool(BACKENDS.load(self.name).TRACES)

    def build(self, package: ModelPackage) -> Backend:
        """A joint model, ready to run.

        Raises:
            ModelError: the model is damaged, or the backend has no such device or precision.
        """
        backend: Backend = BACKENDS.load(self.name).build(self._params(), package=package)
        return backend

    def compile_module(self, module: nn.Module, example_inputs: Sequence[Tensor]) -> CompiledModule:
        """A module in evaluation mode, ready to run.

        Raises:
            ModelError: the backend has no such device or precision.
        """
        compiled: CompiledModule = BACKENDS.load(self.name).compile_module(self._params(), module, example_inputs)
        return compiled

    def load_module(self, path: Path) -> CompiledModule:
        """A module that was written for the backend, ready to run; `openvino` has such.

        Raises:
            ModelError: the backend has no such device.
        """
        loaded: CompiledModule = BACKENDS.load(self.name).load_module(self._params(), path)
        return loaded

    def _params(self) -> PluginParams:
        values = {"device": self.device, "threads": self.threads, "precision": self.precision, "lanes": self.lanes}
        return BACKENDS.params(self.name, values)
