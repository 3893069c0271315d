"""Checkpoints as Python 2.7 with PyTorch 0.2 wrote them, byte by byte, for tests of what reads them.

Five pickles of protocol 2 in a row (magic number, version, facts of the machine, the object, the names of its
storages), then each storage: the number of its elements and the elements. Python 2's own: strings are byte strings, an
`OrderedDict` is built from a list of two-element lists; PyTorch 0.2's own: tensors come from `_rebuild_tensor`, and
their storages are of the graphics card that they were trained on.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_STORAGES = {torch.float32: "FloatStorage", torch.int64: "LongStorage", torch.float16: "HalfStorage"}


class Call:
    """A global of a module, called with arguments: what a malicious pickle asks for."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self.module, self.name, self.arguments = module, name, arguments


def legacy_bytes(value: Any, location: str = "cuda:0") -> bytes:
    """The file for a value: dicts, lists, numbers, strings, tensors (float32, float16 or int64), `Call`."""
    writer = _Writer(location)
    written = writer.pickled(value)
    facts = {
        "protocol_version": _VERSION,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    head = b"".join(_Writer(location).pickled(entry) for entry in (_MAGIC, _VERSION, facts))
    names = sorted(writer.storages)
    tail = [_Writer(location).pickled(names)]
    for name in names:
        data = writer.storages[name].contiguous()
        tail += [struct.pack("<q", data.numel()), data.numpy().tobytes()]
    return head + written + b"".join(tail)


def write_legacy(path: Path, state: Mapping[str, Tensor], **meta: Any) -> Path:
    """A `.pth.tar` with `state_dict` and what else is given (`epoch`, `best_prec1`, `arch`)."""
    path.write_bytes(legacy_bytes({**meta, "state_dict": _Ordered(state)}))
    return path


class _Ordered(dict[str, Any]):
    """Written as an `OrderedDict`."""


class _Writer:
    """Writes one pickle with the opcodes that Python 2's cPickle chooses."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.storages: dict[str, Tensor] = {}
        self._memos = 0

    def pickled(self, value: Any) -> bytes:
        return pickle.PROTO + b"\x02" + self._value(value) + pickle.STOP

    def _value(self, value: Any) -> bytes:
        match value:
            case None:
                return pickle.NONE
            case bool():
                return pickle.NEWTRUE if value else pickle.NEWFALSE
            case int():
                return _whole(value)
            case float():
                return pickle.BINFLOAT + struct.pack(">d", value)
            case str():
                return self._string(value)
            case tuple():
                return self._tuple(value)
            case list():
                return self._list(value)
            case _Ordered():
                return self._ordered(value)
            case dict():
                return self._dict(value)
            case Tensor():
                return self._tensor(value)
            case Call():
                return self._global(value.module, value.name) + self._tuple(value.arguments) + pickle.REDUCE
        raise TypeError(type(value).__name__)

    def _memo(self) -> bytes:
        number, self._memos = self._memos, self._memos + 1
        return pickle.BINPUT + bytes([number]) if number < 256 else pickle.LONG_BINPUT + struct.pack("<I", number)

    def _string(self, text: str) -> bytes:
        data = text.encode("latin1")
        return pickle.SHORT_BINSTRING + bytes([len(data)]) + data + self._memo()

    def _tuple(self, values: tuple[Any, ...]) -> bytes:
        if not values:
            return pickle.EMPTY_TUPLE
        body = b"".join(self._value(v) for v in values)
        short = {1: pickle.TUPLE1, 2: pickle.TUPLE2, 3: pickle.TUPLE3}
        if len(values) in short:
            return body + short[len(values)] + self._memo()
        return pickle.MARK + body + pickle.TUPLE + self._memo()

    def _list(self, values: list[Any]) -> bytes:
        begin = pickle.EMPTY_LIST + self._memo()
        if not values:
            return begin
        if len(values) == 1:
            return begin + self._value(values[0]) + pickle.APPEND
        return begin + pickle.MARK + b"".join(self._value(v) for v in values) + pickle.APPENDS

    def _dict(self, values: Mapping[str, Any]) -> bytes:
        begin = pickle.EMPTY_DICT + self._memo()
        body = b"".join(self._value(k) + self._value(v) for k, v in values.items())
        return begin + pickle.MARK + body + pickle.SETITEMS

    def _ordered(self, values: Mapping[str, Any]) -> bytes:
        items = [[key, value] for key, value in values.items()]
        return self._global("collections", "OrderedDict") + self._tuple((items,)) + pickle.REDUCE + self._memo()

    def _global(self, module: str, name: str) -> bytes:
        return pickle.GLOBAL + f"{module}\n{name}\n".encode("ascii") + self._memo()

    def _tensor(self, tensor: Tensor) -> bytes:
        name = str(94_000_000_000_000 + 256 * len(self.storages))  # an address, as PyTorch 0.2 names storages
        self.storages[name] = tensor
        card = "torch.cuda" if self.location.startswith("cuda") else "torch"
        storage = (
            pickle.MARK
            + self._string("storage")
            + self._global(card, _STORAGES[tensor.dtype])
            + self._string(name)
            + self._string(self.location)
            + _whole(tensor.numel())
            + pickle.NONE
            + pickle.TUPLE
            + self._memo()
            + pickle.BINPERSID
        )
        shape = self._tuple(tuple(tensor.shape)) + self._tuple(tensor.contiguous().stride())
        arguments = pickle.MARK + storage + _whole(0) + shape + pickle.TUPLE + self._memo()
        return self._global("torch._utils", "_rebuild_tensor") + arguments + pickle.REDUCE + self._memo()


def _whole(value: int) -> bytes:
    if 0 <= value < 1 << 8:
        return pickle.BININT1 + bytes([value])
    if 0 <= value < 1 << 16:
        return pickle.BININT2 + struct.pack("<H", value)
    if -(1 << 31) <= value < 1 << 31:
        return pickle.BININT + struct.pack("<i", value)
    data = pickle.encode_long(value)
    return pickle.LONG1 + bytes([len(data)]) + data
