"""What a bus says, written down as it is heard (`scene-streamer watch -o`)."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from streamer.encoding import Body
from streamer.errors import OutputError
from streamer.files import output_errors
from streamer.message_file import check_format, message_writer

_FLUSH_S = 1.0


class BusRecording:
    """A new file of messages, JSON Lines or MCAP by its ending; a context manager.

    It grows where it stands, so that a program that is killed leaves what it heard up to its last second.

    Raises:
        OutputError: the file exists, or cannot be written; also from `add` and at the end.
        MissingLibraryError: the library that writes MCAP is not installed.
    """

    def __init__(self, path: Path) -> None:
        check_format(path)
        self._path = path
        try:
            with output_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = path.open("xb")
        except OutputError as error:
            if isinstance(error.__cause__, FileExistsError) and path.exists():
                raise OutputError(f"{path} is there already; name a new file") from error
            raise
        self._writer = message_writer(path, self._stream)
        self._next_flush_s = time.monotonic() + _FLUSH_S

    def add(self, body: Body) -> None:
        """Write the next message."""
        with output_errors(self._path):
            self._writer.add(json.dumps(body, default=bytes.hex).encode(), body)

    def flush_when_due(self) -> None:
        """Call it often: once a second it makes sure that a kill loses nothing of what was heard."""
        if time.monotonic() >= self._next_flush_s:
            self._next_flush_s = time.monotonic() + _FLUSH_S
            with output_errors(self._path):
                self._writer.flush()

    def __enter__(self) -> BusRecording:
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the file. Where writing it has failed, that fails again and says the same."""
        try:
            with output_errors(self._path):
                self._writer.finish()
                self._stream.close()
        finally:
            with contextlib.suppress(OSError):  # what a full disk did not take is still in the buffer
                self._stream.close()
