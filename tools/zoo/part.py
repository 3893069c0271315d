"""A download in the making: `TARGET.part`, and `TARGET.part.json` that says what it is a part of.

Both outlive the process, so that a later one can go on; the part is locked, so that one process at a time writes it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.filesize import decimal

from streamer.errors import OutputError
from streamer.files import PendingFile, output_error, output_errors
from tools.zoo.locking import open_locked

_CHUNK = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a part is a part of, as the server described it.

    Attributes:
        address: where it comes from.
        etag, modified: the headers `ETag` and `Last-Modified`.
        total: bytes of the whole file.
    """

    address: str
    etag: str | None = None
    modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What `If-Range` takes (RFC 9110, 13.1.5): a strong ETag, else the date; None: the server cannot go on."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.modified


class PartFile:
    """The part of `target`; a context manager, locked meanwhile. What cannot be gone on from is removed at its end.

    Args:
        target: where the whole file will stand.
        address: where it comes from; a part from elsewhere is begun anew.
        on_wait: called when another process is at it and this one waits.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, target: Path, address: str, on_wait: Callable[[], None] | None = None) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._notes = target.with_name(f"{target.name}.part.json")
        self._ended = False
        self._file = open_locked(self.path, on_wait)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self._hash = hashlib.sha256()
            self.origin = self._read_origin()
            if self.origin.address == address and self.origin.validator is not None:
                self._hash_what_is_there()
            else:
                self.begin(Origin(address))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.stays:
            self.discard()
        self._file.close()

    @property
    def stays(self) -> bool:
        """Whether a later download can go on from what is there."""
        return self.size > 0 and self.origin.validator is not None

    @property
    def complete(self) -> bool:
        """Whether all bytes are known to be there."""
        return self.origin.total is not None and self.size == self.origin.total

    @property
    def sha256(self) -> str:
        """Of the bytes so far, in hexadecimal."""
        return self._hash.hexdigest()

    def begin(self, origin: Origin) -> None:
        """Drop all bytes and begin what `origin` describes.

        Raises:
            OutputError: it cannot be written.
        """
        with output_errors(self.path):
            self._file.truncate(0)
        self.size, self._hash, self.origin = 0, hashlib.sha256(), origin
        try:
            self._write_origin()
        except OutputError as error:
            raise OutputError(self._full_text() if _is_full(error.__cause__) else str(error)) from error

    def require_space(self) -> None:
        """Raises OutputError if the disk has less free space than the rest takes."""
        if self.origin.total is not None and shutil.disk_usage(self.path.parent).free < self.origin.total - self.size:
            raise OutputError(self._full_text())

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            OutputError: the disk is full or fails; what was written before is sound.
        """
        view = memoryview(data)
        while view:
            try:
                written = self._file.write(view)
            except OSError as error:
                text = self._full_text() if _is_full(error) else str(output_error(self.path, error))
                raise OutputError(text) from error
            self._hash.update(view[:written])
            self.size += written
            view = view[written:]

    def commit(self) -> Path:
        """Move the whole file to its target, its bytes on the disk, and give that.

        Raises:
            OutputError: it cannot be moved, or the disk did not take all of it.
        """
        with output_errors(self.target):
            os.fsync(self._file.fileno())
            self._notes.unlink(missing_ok=True)
            self.path.replace(self.target)
        self._ended = True
        return self.target

    def discard(self) -> None:
        """Remove the part; does nothing after `commit`, and may be called twice."""
        # Once only: from then on the name may be that of another process's part.
        if self._ended:
            return
        self._ended = True
        for path in (self._notes, self.path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _write_origin(self) -> None:
        with output_errors(self._notes):
            if self.origin.validator is None:
                self._notes.unlink(missing_ok=True)
                return
        notes = PendingFile(self._notes)
        try:
            with output_errors(self._notes):
                notes.path.write_text(json.dumps(asdict(self.origin)), encoding="utf-8")
            notes.commit()
        finally:
            notes.discard()

    def _full_text(self) -> str:
        rest = "" if self.origin.total is None else f": {decimal(self.origin.total - self.size)} more are needed"
        free = decimal(shutil.disk_usage(self.path.parent).free)
        then = f"; {decimal(self.size)} have arrived and stay" if self.stays else ""
        return (
            f"the disk of {self.path.parent} is full{rest}, {free} are free; free some space and run the same command "
            f"again{then}"
        )

    def _read_origin(self) -> Origin:
        try:
            return Origin(**json.loads(self._notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return Origin("")  # an unknown one: the part is begun anew

    def _hash_what_is_there(self) -> None:
        with output_errors(self.path):
            self._file.seek(0)
            while data := self._file.read(_CHUNK):
                self._hash.update(data)


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL
