"""Files that one process at a time may have open, so that two that pull the same thing do not mix their bytes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from streamer.files import output_errors

# Some network disks have no locks: better to go on without than to refuse.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def open_locked(path: Path, on_wait: Callable[[], None] | None = None) -> FileIO:
    """Open `path` to read and append, unbuffered, alone: made if need be, with its folder; closing it sets it free.

    While another process has it, `on_wait` is called once and this waits. The lock is that of the file which bears the
    name when this returns, also if another one bore it before.

    Raises:
        OutputError: it cannot be written.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        with output_errors(path):
            file = FileIO(path, "a+")
        try:
            if not _lock(file, wait=waited):
                waited = True
                if on_wait is not None:
                    on_wait()
                _lock(file, wait=True)
            if _bears(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


@contextlib.contextmanager
def alone(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path` for a while; it is gone afterwards.

    Raises:
        OutputError: it cannot be written.
    """
    with open_locked(path, on_wait):
        try:
            yield
        finally:
            # While the lock is held: whoever waits finds that its file has lost its name, and opens a new one.
            with contextlib.suppress(OSError):
                path.unlink()


def _lock(file: FileIO, *, wait: bool) -> bool:
    """Whether the lock was had; without `wait` it may not be."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _bears(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
