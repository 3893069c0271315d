"""The public addresses of models and data sets: what `models pull` and `datasets pull` know by name."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from config.errors import ConfigError, UnknownPluginError
from config.faults import describe
from config.yaml12 import parse_yaml

MIRROR_VARIABLE = "SCENE_STREAMER_MIRROR"

_TABLE = Path(__file__).with_name("addresses.yaml")

Kind = Literal["checkpoint", "segmenter", "dataset", "semantics"]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RemoteFile(_Row):
    """A file on a public server; `sha256` is None where nobody has recorded it yet."""

    address: str = Field(pattern=r"^https?://[^/]+/.*[^/]$")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @property
    def name(self) -> str:
        """The file's own name, the end of its address."""
        return PurePosixPath(unquote(urlsplit(self.address).path)).name

    def at(self, mirror: str | None) -> str:
        """The address to fetch from: the public one, or the same path on `mirror` ("https://mirror.example/zoo").

        Raises:
            ConfigError: `mirror` is no address of a web server.
        """
        if mirror is None:
            return self.address
        try:
            own, other = urlsplit(self.address), urlsplit(mirror)
        except ValueError:
            other = urlsplit("")
        if other.scheme not in ("http", "https") or not other.netloc or other.query or other.fragment:
            raise ConfigError("a mirror is the address of a web server, such as https://mirror.example/zoo")
        return urlunsplit((other.scheme, other.netloc, other.path.rstrip("/") + own.path, own.query, ""))


def _as_file(value: Any) -> Any:
    return {"address": value} if isinstance(value, str) else value


class Entry(_Row):
    """What a name stands for.

    Attributes:
        files: in the order in which an import takes them: a segmenter's encoder, then its decoder.
        splits: the splits that an archive of semantics covers.
    """

    files: tuple[Annotated[RemoteFile, BeforeValidator(_as_file)], ...] = Field(min_length=1)
    splits: tuple[Literal["train", "val"], ...] = ("train", "val")


class AddressBook(_Row):
    """All that is known, by kind and name."""

    checkpoint: dict[str, Entry]
    segmenter: dict[str, Entry]
    dataset: dict[str, Entry]
    semantics: dict[str, Entry]

    @property
    def models(self) -> dict[str, Entry]:
        """Everything that `models pull` knows."""
        return self.checkpoint | self.segmenter


def read_addresses(table: Path = _TABLE) -> AddressBook:
    """Read a table of addresses.

    Raises:
        ConfigError: it is no such table; says where.
    """
    values = parse_yaml(table.read_bytes(), table.name)
    try:
        return AddressBook.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{table}: {describe(error, AddressBook)}") from error


@cache
def addresses() -> AddressBook:
    """The table that comes with Scene Streamer."""
    return read_addresses()


def find_model(name: str) -> Entry:
    """The files of a public checkpoint or segmenter.

    Raises:
        UnknownPluginError: the name is not known; the message lists those that are.
    """
    return _find("public model", name, addresses().models)


def find_dataset(name: str, kind: Literal["dataset", "semantics"] = "dataset") -> Entry:
    """The archive of a public data set, or of its precomputed semantics.

    Raises:
        UnknownPluginError: the name is not known; the message lists those that are.
    """
    return _find("data set", name, getattr(addresses(), kind))


def chosen_mirror(option: str | None) -> str | None:
    """The mirror to fetch from: the option, else `$SCENE_STREAMER_MIRROR`, else None."""
    return option or os.environ.get(MIRROR_VARIABLE) or None


def _find(what: str, name: str, table: dict[str, Entry]) -> Entry:
    if name not in table:
        raise UnknownPluginError(what, name, sorted(table))
    return table[name]
