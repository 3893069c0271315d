"""Bodies of bus messages as bytes and back: MessagePack or JSON, within limits, told apart by their first byte.

A JSON map begins with `{` (0x7B), which in MessagePack is the number 123 and never a map, so `decode` needs no hint.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

import msgpack
import numpy as np

from streamer.errors import MessageError

Encoding = Literal["msgpack", "json"]
Body = dict[str, Any]

MAX_BYTES = 1 << 20
"""Largest body in bytes; the largest label is about 3 kB."""
MAX_DEPTH = 16
"""Deepest nesting of maps and lists."""

_SCALARS = (str, int, float, bool, bytes, type(None))


def plain(value: Any) -> Any:
    """`value` in types that both encodings know: NumPy scalars and arrays, tuples and mappings are converted."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return value


def encode(body: Body, encoding: Encoding = "msgpack") -> bytes:
    """`body` as bytes.

    Raises:
        MessageError: it holds something that the encoding cannot carry (for JSON also NaN and infinity).
    """
    try:
        if encoding == "json":
            return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        packed: bytes = msgpack.packb(body)
        return packed
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MessageError(f"body cannot be encoded as {encoding}: {error}") from error


def decode(data: bytes) -> Body:
    """The body in `data`, whichever encoding it has.

    Raises:
        MessageError: no map in either encoding, too large, or nested too deeply.
    """
    if len(data) > MAX_BYTES:
        raise MessageError(f"body of {len(data)} bytes; at most {MAX_BYTES} are allowed")
    try:
        body = json.loads(data, parse_constant=_refuse) if data[:1] == b"{" else msgpack.unpackb(data)
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise MessageError(f"body is neither MessagePack nor JSON: {type(error).__name__}") from error
    if not isinstance(body, dict):
        raise MessageError(f"body is a {type(body).__name__}, not a map")
    check_values(body)
    return body


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def check_values(value: Any, depth: int = MAX_DEPTH) -> None:
    """Refuse what a body cannot hold: deep nesting, keys that are no text, NaN, MessagePack's extension types.

    Raises:
        MessageError: it holds such a thing.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise MessageError("body holds a number that is none")
    if isinstance(value, _SCALARS):
        return
    if depth == 0:
        raise MessageError(f"body is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise MessageError("body has a key that is no text")
        value = list(value.values())
    if not isinstance(value, list):
        raise MessageError(f"body holds a {type(value).__name__}")
    for item in value:
        check_values(item, depth - 1)
