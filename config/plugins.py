"""Finds plug-ins by their file name: `models/smoothing/exponential.py` is the smoother `exponential`.

A plug-in module offers `Params`, a pydantic model that rejects unknown keys, and `build(params, ...)`. Listing the
names imports nothing; loading imports the one that is asked for, and a failing import is an error, not a skipped entry.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from config.errors import ConfigError, UnknownPluginError, UserError
from config.faults import describe

__all__ = ["MissingLibraryError", "PluginParams", "Registry", "describe"]

_OUR_PACKAGES = frozenset({"config", "models", "streamer", "tools"})


class MissingLibraryError(UserError, ImportError):
    """A plug-in whose library is not installed; the message names both."""


class PluginParams(BaseModel):
    """Base of every plug-in's parameters: unknown keys are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Registry:
    """The plug-ins of one kind: the public modules of a package.

    Args:
        what: the kind in words, for messages ("smoother").
        package: the package that holds one file per plug-in ("models.smoothing").
    """

    what: str
    package: str

    # Files of a plug-in folder that are shared code rather than plug-ins.
    helpers: ClassVar[frozenset[str]] = frozenset({"base"})

    def names(self) -> list[str]:
        """Names of all plug-ins, sorted, without importing any of them."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"{self.package} is not a package")
        modules = pkgutil.iter_modules(spec.submodule_search_locations)
        return sorted(m.name for m in modules if not m.name.startswith("_") and m.name not in self.helpers)

    def check(self, name: str) -> None:
        """Raise UnknownPluginError if no file has that name; imports nothing."""
        if name not in self.names():
            raise UnknownPluginError(self.what, name, self.names())

    def load(self, name: str) -> ModuleType:
        """Import the plug-in called `name`.

        Raises:
            UnknownPluginError: no file has that name.
            MissingLibraryError: the file exists, but a library it needs does not.
            ImportError: the file exists, but it or a library it needs is broken.
        """
        self.check(name)
        try:
            return importlib.import_module(f"{self.package}.{name}")
        except ModuleNotFoundError as error:
            library = (error.name or "").partition(".")[0]
            if not library or library in _OUR_PACKAGES:
                raise
            raise MissingLibraryError(
                f"{self.what} {name!r} needs the library {library!r}, which is not installed", name=error.name
            ) from error

    def params(self, name: str, values: Mapping[str, Any]) -> PluginParams:
        """Validate `values` against the plug-in's `Params`; errors name the plug-in and the key."""
        cls: type[PluginParams] = self.load(name).Params
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(f"{self.what} {name!r}: {describe(error, cls)}") from error

    def build(self, name: str, values: Mapping[str, Any], /, **context: Any) -> Any:
        """Build the plug-in `name` from its parameters; `context` goes to its builder as keywords."""
        params = self.params(name, values)
        return self.load(name).build(params, **context)
