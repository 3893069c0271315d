"""Reads YAML as version 1.2 means it: `off` and `no` are words, a key stands once, nothing is guessed to be a date.

PyYAML follows YAML 1.1, where `frames: off` is the boolean false, `1e-3` is a text and a repeated key is silently
overwritten. The core schema of YAML 1.2.2 (chapter 10.3) has none of these traps (and no merge key `<<`).
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from config.errors import ConfigError

_CORE_SCHEMA = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN\0"),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2, unique keys and no self-containing values."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


def parse_yaml(text: str | bytes, origin: str) -> Any:
    """The value of a YAML document; None where it is empty.

    Args:
        text: the document; bytes are UTF-8, or UTF-16 with a byte order mark.
        origin: where it came from, to begin error messages ("rtsp.yaml").

    Raises:
        ConfigError: not YAML, or a key twice, with line and column.
    """
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{origin}{where}: {' '.join(reason.split())}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{origin}: not readable as YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError(f"{origin}: nested too deeply") from error


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: dict[Hashable, int] = {}
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, Hashable) and key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} is here twice, first in line {seen[key]}", key_node.start_mark
            )
        if isinstance(key, Hashable):
            seen[key] = key_node.start_mark.line + 1
    # Built whole rather than in two steps, so that a value that contains itself is an error.
    return loader.construct_mapping(node, deep=True)


def _construct_sequence(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


for _tag, _pattern, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), [c if c != "\0" else "" for c in _first])
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _construct_sequence)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
