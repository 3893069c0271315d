"""Puts the faults that pydantic finds into one line that a user can act on."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

_LONGEST_VALUE = 80
# Credentials in an address, as in rtsp://user:password@host.
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
# What follows the host in an address: some have their secret there.
_AFTER_HOST = re.compile(r"(?<=://)([^/?#\s'\"]+[/?#])[^\s'\"]+")
_DEEPEST = 4  # how many levels a misplaced key is searched
_FOREIGN_KEY = ("extra_forbidden", "invalid_key")


@dataclass(frozen=True)
class _Place:
    """A location in the schema: the key path as a user writes it, and what the schema has there."""

    path: str
    around: tuple[type[BaseModel], ...]  # the groups that the last key stands in
    inside: tuple[type[BaseModel], ...]  # the groups that it may be itself


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for all faults of a validation: key path, what is wrong, what would be right.

    Args:
        error: what pydantic raised.
        model: the model that was validated, for the keys that exist.
    """
    faults: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_context=False):
        place = _locate(model, item["loc"], foreign=item["type"] in _FOREIGN_KEY)
        subject, complaint = _fault(dict(item), place, model)
        complaints = faults.setdefault(subject, [])
        if complaint not in complaints:
            complaints.append(complaint)
    return "; ".join(f"{subject}: {', or '.join(complaints)}" for subject, complaints in faults.items())


def _fault(item: Mapping[str, Any], place: _Place, root: type[BaseModel]) -> tuple[str, str]:
    """(what is at fault, what would be right)."""
    kind, message = str(item["type"]), str(item["msg"])
    if kind == "extra_forbidden":
        return f"unknown key {place.path!r}", _known_keys(place, root)
    if kind == "missing":
        return f"{place.path!r} is missing", "it has no default"
    if kind == "invalid_key":
        return f"unknown key {place.path!r}", "keys are text"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        message = "should be a group of keys" + _of(place)
    if kind == "tuple_type":
        message = "should be a list"
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ").removeprefix("Input ")
    message = message.partition(", unable to parse")[0]
    if kind == "value_error" and isinstance(item["input"], dict | list | tuple):
        return place.path or "value", message  # the keys of a group do not fit together: no single value is wrong
    return f"{place.path or 'value'} = {_shown(item['input'])}", message


def _known_keys(place: _Place, root: type[BaseModel]) -> str:
    known = sorted({key for model in place.around for key in _fields(model)})
    parent, _, key = place.path.rpartition(".")
    here = difflib.get_close_matches(key, known, n=1)
    guesses = [f"{parent}.{name}" if parent else name for name in here] or _elsewhere(key, root)
    hint = f"did you mean {' or '.join(map(repr, guesses))}? " if guesses else ""
    return f"{hint}known here: {', '.join(known) or 'nothing'}"


def _elsewhere(key: str, root: type[BaseModel]) -> list[str]:
    """Key paths anywhere in the schema that end in `key` or, failing that, in the name closest to it."""
    paths = list(_paths(root))
    for name in difflib.get_close_matches(key, {path.rpartition(".")[2] for path in paths}, n=1, cutoff=0.75):
        return [path for path in paths if path.rpartition(".")[2] == name]
    return []


def _of(place: _Place) -> str:
    """The keys of the group that `place` stands for, to be added to a message."""
    names = sorted({key for model in place.inside for key in _fields(model)})
    return f" ({', '.join(names)})" if names else ""


def _shown(value: Any) -> str:
    """The value as it is written in YAML where that differs from Python, short and without credentials."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = _AFTER_HOST.sub(r"\1***", _CREDENTIALS.sub("***@", repr(value)))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _locate(model: type[BaseModel], location: Sequence[int | str], foreign: bool) -> _Place:
    """Follow pydantic's location through the schema, leaving out what names no key (the branches of unions).

    Args:
        model: where the location starts.
        location: keys, positions in lists, and the names that pydantic gives the branches of unions.
        foreign: whether the last part is a key that the schema does not have.
    """
    types_here: list[Any] = [model]
    around: tuple[type[BaseModel], ...] = ()
    path = ""
    for number, part in enumerate(location):
        inner = list(_step(types_here, part))
        is_foreign = foreign and number == len(location) - 1
        if not inner and not is_foreign and isinstance(part, str):
            continue
        is_position = isinstance(part, int) and not is_foreign
        path += f"[{part}]" if is_position else f".{part}" if path else str(part)
        around, types_here = tuple(_models(types_here)), inner
    return _Place(path, around, tuple(_models(types_here)))


def _step(types_here: Sequence[Any], part: int | str) -> Iterator[Any]:
    """The types that may stand under `part` of something of one of `types_here`."""
    for here in types_here:
        if isinstance(part, str) and _is_model(here):
            field = _fields(here).get(part)
            if field is not None:
                yield from _branches(field.annotation)
        elif get_origin(here) in (list, tuple, set, frozenset) and isinstance(part, int):
            items = [a for a in get_args(here) if a is not Ellipsis]
            if items:
                yield from _branches(items[min(part, len(items) - 1)])
        elif get_origin(here) is dict:
            yield from _branches(get_args(here)[1])


def _branches(annotation: Any) -> Iterator[Any]:
    """The members of a union; any other type is its own only member."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _branches(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _branches(member)
    else:
        yield annotation


def _models(types_here: Sequence[Any]) -> Iterator[type[BaseModel]]:
    return (here for here in types_here if _is_model(here))


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a group by the keys that a user writes."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _paths(model: type[BaseModel], prefix: str = "", depth: int = _DEEPEST) -> Iterator[str]:
    """Every key path of a schema."""
    for key, field in _fields(model).items():
        yield prefix + key
        if depth > 0:
            for inner in _models(list(_branches(field.annotation))):
                yield from _paths(inner, f"{prefix}{key}.", depth - 1)
