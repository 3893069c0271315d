"""Reads checkpoints of others without running anything that is in them.

A checkpoint is a `.pth.tar` of PyTorch - a pickle with `state_dict`, `epoch`, `best_prec1` and possibly more, or the
state dict alone; of the zip kind or of the older one, down to Python 2.7 with PyTorch 0.2 - or a safetensors file.
Pickles are read by PyTorch's `weights_only` loader, which builds tensors and plain values and calls nothing else.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pickle
import pickletools
import re
import stat
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.errors import ModelError

__all__ = ["Checkpoint", "read_checkpoint"]

_STATE = "state_dict"
_WRAPPER = "module"  # what DataParallel puts before the names of what it wraps
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])(?=\.)")
_LONGEST_HEADER = 100_000_000  # bytes, the limit of the safetensors format
_MOST_OPCODES = 1_000_000
_REFUSED = re.compile(r"(?:GLOBAL|unrecognized function|but got|module) +(?:<\S+ )?'?([\w.]+)")


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        state: tensors on the CPU by their names, the names as today's networks spell them.
        meta: what else the file says (`epoch`, `best_prec1`, `labels`...), plain values and tensors.
        path: the file.
        sha256: of the file.
    """

    state: dict[str, Tensor]
    meta: dict[str, Any]
    path: Path
    sha256: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Names lose the `module` of data-parallel wrappers, old DenseNets' `norm.1` becomes `norm1`, and batch norms that
    PyTorch wrote before it counted batches get a counter of 0.

    Raises:
        ModelError: missing, no checkpoint, cut short, or a pickle that asks for code to be executed.
    """
    try:
        with _opened(path) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            values, meta = _read(file, path)
    except OSError as error:
        raise ModelError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    return Checkpoint(_state(values, path), meta, path, sha256)


def _opened(path: Path) -> BufferedReader:
    """The file, if it is one; a pipe or a device would keep us waiting."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise ModelError(f"there is no checkpoint {path}") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise ModelError(f"checkpoint {path} is {what}; give the file with the weights")
    if path.stat().st_size == 0:
        raise ModelError(f"checkpoint {path} is empty; get it again")
    return path.open("rb")


def _read(file: BufferedReader, path: Path) -> tuple[Any, dict[str, Any]]:
    """State dict and the rest."""
    if _is_safetensors(file):
        return _read_safetensors(path)
    content = _unpickled(file, path)
    if isinstance(content, Mapping) and _STATE in content:
        return content[_STATE], {str(key): _number(value) for key, value in content.items() if key != _STATE}
    return content, {}


def _number(value: Any) -> Any:
    """A number of numpy or torch as Python's; anything else as it is."""
    is_number = isinstance(value, np.generic) or (isinstance(value, Tensor) and value.ndim == 0)
    return value.item() if is_number else value


def _is_safetensors(file: BufferedReader) -> bool:
    head = file.read(9)
    file.seek(0)
    length = int.from_bytes(head[:8], "little")
    return head[8:] == b"{" and length <= min(_LONGEST_HEADER, os.fstat(file.fileno()).st_size)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            meta = {key: _plain(value) for key, value in (file.metadata() or {}).items()}
            return {key: file.get_tensor(key) for key in file.keys()}, meta  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ModelError(f"checkpoint {path} is a damaged safetensors file ({error}); get it again") from error


def _plain(value: str) -> Any:
    """Metadata of safetensors are text; numbers and lists are written as JSON."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _unpickled(file: BufferedReader, path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numbers_of_numpy()):
            warnings.simplefilter("ignore")  # of other pickle protocols: whether it can be read shows soon enough
            # Byte strings of Python 2 have no encoding; in latin1 any byte is a character.
            return torch.load(file, map_location="cpu", weights_only=True, encoding="latin1")
    except pickle.UnpicklingError as error:
        raise ModelError(_refusal(file, path, str(error))) from error
    except MemoryError as error:
        raise ModelError(f"checkpoint {path} does not fit into memory") from error
    except Exception as error:  # a damaged file can fail anywhere in the reader
        raise ModelError(f"{_unreadable(path)} ({_first_line(error)})") from error


def _numbers_of_numpy() -> list[Any]:
    """`best_prec1` may be a numpy number: what builds one, under its names in numpy 1 and 2."""
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    kinds = (np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType)
    return [*((scalar, name) for name in names), np.dtype, *kinds]


def _refusal(file: BufferedReader, path: Path, reason: str) -> str:
    """Why the loader stopped: at a call, or at bytes that are no pickle that it reads."""
    if file.tell() == os.fstat(file.fileno()).st_size and not zipfile.is_zipfile(file):
        return _unreadable(path)  # a name that is cut off looks like one that is not allowed
    asked = _REFUSED.search(reason)
    name = asked[1] if asked else _call_in_pickle(file)
    if name is None:
        return _unreadable(path)
    return (
        f"checkpoint {path} asks for code to be executed ({name}) and was refused; nothing of it ran. Only files of "
        "tensors and plain values are read: save the network's state_dict() alone"
    )


def _call_in_pickle(file: BufferedReader) -> str | None:
    """The first foreign function that a pickle of a newer protocol names; found by reading opcodes, not by obeying."""
    file.seek(0)
    strings: list[str] = []
    try:
        for opcode, argument, _ in itertools.islice(pickletools.genops(file), _MOST_OPCODES):
            if isinstance(argument, str) and opcode.name not in ("GLOBAL", "INST"):
                strings = [*strings[-1:], argument]
            elif opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                name = argument.replace(" ", ".") if isinstance(argument, str) else ".".join(strings)
                if name.partition(".")[0] not in ("torch", "collections", "numpy"):
                    return name
    except (ValueError, MemoryError):
        pass  # no pickle, or not from there on; damaged bytes may claim a text that no memory holds
    return None


def _unreadable(path: Path) -> str:
    return f"{path} is no checkpoint of PyTorch and no safetensors file, or it is cut short; get it again"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:120]


def _state(values: Any, path: Path) -> dict[str, Tensor]:
    """The state dict with today's names.

    Raises:
        ModelError: it is none.
    """
    if not isinstance(values, Mapping) or not values:
        raise ModelError(f"checkpoint {path} holds no state dict (tensors by their names) but {_described(values)}")
    state: dict[str, Tensor] = {}
    for key, value in values.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ModelError(f"checkpoint {path}: the state dict's {key!r} is no tensor but {_described(value)}")
        name = _todays_name(key)
        if name in state:
            raise ModelError(f"checkpoint {path} names {name!r} twice, once with and once without {_WRAPPER!r}")
        state[name] = value.detach()
    return _with_counters(state)


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a dict with " + (", ".join(map(str, list(value)[:4])) or "nothing")
    return f"a {type(value).__name__}"


def _todays_name(key: str) -> str:
    bare = ".".join(part for part in key.split(".") if part != _WRAPPER)
    return _OLD_DENSENET.sub(r"\1\2", bare)


def _with_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with `num_batches_tracked` after each batch norm's variance, as PyTorch writes since 0.4.1."""
    full: dict[str, Tensor] = {}
    for key, value in state.items():
        full[key] = value
        norm, _, last = key.rpartition(".")
        counter = f"{norm}.num_batches_tracked" if norm else "num_batches_tracked"
        if last == "running_var" and counter not in state:
            full[counter] = torch.tensor(0)
    return full
