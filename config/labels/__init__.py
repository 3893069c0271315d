"""Label lists: the names of scenes and objects in the order of a network's outputs.

A list is a text file beside this one, one name a line in the order of the outputs, with an optional group ("indoor")
after a tab. Lines that begin with `#` are its header: `name`, `source`, and `first id` where numbering starts at 1.
Plain text, because 1,055 names are read in a millisecond; the same list in YAML takes a hundred times as long.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from config.errors import ConfigError, UserError

__all__ = ["LabelList", "UnknownLabelError", "label_lists", "load_labels", "parse_labels"]

_FOLDER = Path(__file__).parent


class UnknownLabelError(UserError):
    """A name that a label list does not have; the message names the closest ones."""


@dataclass(frozen=True)
class LabelList:
    """The classes of a data set or a model, in the order of the outputs.

    Attributes:
        name: how the list is called.
        names: the C class names, each once.
        groups: the group of each class ("indoor", "outdoor"), or None where the list has none.
        first_id: the number of the first class in the data set's own numbering: 1 for ADE20K's objects, else 0.
    """

    name: str
    names: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    first_id: int = 0

    def __post_init__(self) -> None:
        if not self.names:
            raise ConfigError(f"label list {self.name!r} has no names")
        twice = sorted(name for name, count in Counter(self.names).items() if count > 1)
        if twice:
            raise ConfigError(f"label list {self.name!r} names these more than once: {', '.join(twice)}")
        if self.groups is not None and len(self.groups) != len(self.names):
            raise ConfigError(f"label list {self.name!r}: either every name has a group or none has")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def sha256(self) -> str:
        """Identity of the list: SHA-256 of the names in UTF-8, joined by newlines, in hexadecimal."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()

    @cached_property
    def _index(self) -> dict[str, int]:
        return {_key(name): i for i, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """The output number, 0..C-1, of a class.

        The spellings of the data sets count as one: `/f/field/cultivated`, `field/cultivated`, `field-cultivated`.

        Raises:
            UnknownLabelError: the list has no such class.
        """
        try:
            return self._index[_key(name)]
        except KeyError:
            close = difflib.get_close_matches(name, self.names, n=3)
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise UnknownLabelError(f"{name!r} is not in the label list {self.name!r}{hint}") from None

    def name_of(self, number: int) -> str:
        """The class with that number in the data set's own numbering (ADE20K objects: 1..150).

        Raises:
            IndexError: the numbering has no such class.
        """
        position = number - self.first_id
        if not 0 <= position < len(self.names):
            raise IndexError(f"{self.name} has the ids {self.first_id}..{self.first_id + len(self) - 1}, not {number}")
        return self.names[position]

    def group_shares(self, probabilities: Sequence[float]) -> dict[str, float]:
        """Probability of each group: the sum over its classes; empty where the list has no groups.

        Args:
            probabilities: C numbers in the order of `names`.
        """
        if len(probabilities) != len(self.names):
            raise ValueError(f"{len(self.names)} labels need as many probabilities, not {len(probabilities)}")
        shares = dict.fromkeys(sorted(set(self.groups or ())), 0.0)
        for group, p in zip(self.groups or (), probabilities, strict=False):
            shares[group] += float(p)
        return shares


def label_lists() -> list[str]:
    """Names of the lists that come with Scene Streamer, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.txt"))


def load_labels(name: str) -> LabelList:
    """The list called `name`, one of `label_lists()`.

    Raises:
        ConfigError: there is no list of that name; the message says which there are.
    """
    known = label_lists()
    if name not in known:
        raise ConfigError(f"unknown label list {name!r}; known: {', '.join(known)}")
    return parse_labels((_FOLDER / f"{name}.txt").read_text(encoding="utf-8"), name)


def parse_labels(text: str, name: str) -> LabelList:
    """Read a list from text in the format that this module describes; `name` stands in where the header has none.

    Raises:
        ConfigError: empty, a name twice, or groups for some names only.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    header = dict(_header_entry(line) for line in lines if line.startswith("#"))
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    groups = tuple(row[1] for row in rows if len(row) > 1)
    return LabelList(
        name=header.get("name", name),
        names=tuple(row[0] for row in rows),
        groups=groups or None,
        first_id=_first_id(header, name),
    )


def _header_entry(line: str) -> tuple[str, str]:
    key, _, value = line.lstrip("# ").partition(":")
    return key.strip(), value.strip()


def _first_id(header: dict[str, str], name: str) -> int:
    text = header.get("first id", "0")
    if not text.isdecimal():
        raise ConfigError(f"label list {name!r}: first id is a whole number, not {text!r}")
    return int(text)


def _key(name: str) -> str:
    """What the spellings of one class have in common: no leading `/f/`, a dash before the sub-level."""
    if len(name) > 3 and name[0] == "/" and name[2] == "/":
        name = name[3:]
    return name.replace("/", "-")
