"""Files that appear whole or not at all: written under a passing name beside their target, moved there when done."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from streamer.errors import OutputError

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space or choose another folder",
    errno.EDQUOT: "your quota of the disk is used up: free some space or choose another folder",
    errno.EFBIG: "the file gets larger than this disk or process may write",
    errno.EACCES: "no permission: choose a folder that you may write to",
    errno.EPERM: "no permission: choose a folder that you may write to",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.ENOENT: "that folder does not exist and cannot be made",
    errno.ENOTDIR: "a part of that path is a file, not a folder",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EISDIR: "a folder of that name stands in the way",
    errno.ENAMETOOLONG: "the name is too long",
}


class PendingFile:
    """A file in the making.

    Args:
        target: where it will stand. Its folder is made if need be; a former file there stays until `commit`.
        folder: where to write until then, on the same disk; default: the target's folder.

    Attributes:
        path: the file until then; on the target's disk, so that the move is atomic.

    Raises:
        OutputError: nothing can be written there.
    """

    def __init__(self, target: Path, folder: Path | None = None) -> None:
        self.target = target
        # Short and not made of the target's name, which may already be as long as names can be.
        self.path = (folder or target.parent) / f".scene-streamer-{secrets.token_hex(6)}.part"
        with output_errors(target):
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
            target.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(exist_ok=False)

    def commit(self) -> Path:
        """Move the file to its target and give that; its bytes are on the disk before its name is.

        Raises:
            OutputError: it cannot be moved, or the disk did not take all of it; then it is discarded.
        """
        try:
            with output_errors(self.target):
                to_disk(self.path)
                self.path.replace(self.target)
        finally:
            self.discard()
        return self.target

    def discard(self) -> None:
        """Remove what was written; does nothing after `commit`, and may be called twice."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Make sure that what was written to a file, or the names in a folder, survive a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(target: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    file = PendingFile(target)
    try:
        with output_errors(target):
            file.path.write_bytes(content)
        file.commit()
    finally:
        file.discard()


@contextlib.contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """Turn what the operating system says about writing `target` into an OutputError that says what to do."""
    try:
        yield
    except OSError as error:
        raise output_error(target, error) from error


def output_error(target: Path, error: Exception) -> OutputError:
    """The OutputError for a failure to write `target`; `error` need not be an OSError but may have an `errno`."""
    reason = _REMEDIES.get(getattr(error, "errno", None) or 0) or getattr(error, "strerror", None) or str(error)
    return OutputError(f"cannot write {target}: {reason}")
