"""Files of bus messages: the one reader and the writers. JSON Lines, or MCAP where the name ends in `.mcap`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from streamer.encoding import Body, encode
from streamer.errors import LabelFileError
from streamer.files import PendingFile, output_errors
from streamer.mcap_file import CutOff, McapWriter, mcap_messages, require_mcap

_LOG = logging.getLogger(__name__)

# A label has 2 kB; what has no end of line for so long is no text of labels.
_LONGEST_LINE = 1 << 20
_REMEDY = " (`scene-streamer resmooth --as-is` copies what is whole)"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message of a file.

    Attributes:
        number: of its line, or of the message in an MCAP file, from 1.
        where: file and number in words, for errors.
        body: a JSON object of which nothing else is known.
        text: the JSON in which it was written; None if more than the body stood there.
    """

    number: int
    where: str
    body: Body
    text: bytes | None

    @property
    def data(self) -> bytes:
        """The body in JSON on one line, as it was written if it was written so.

        Raises:
            MessageError: it holds what JSON cannot (NaN, infinity).
        """
        if self.text is None or b"\n" in self.text:
            return encode(self.body, "json")
        return self.text


class MessageWriter(Protocol):
    """Writes messages of one format into an open file, which stays open."""

    def add(self, data: bytes, body: Body) -> None:
        """Write the next message; `data` is `body` in JSON, on one line."""

    def flush(self) -> None:
        """Hand all messages so far to the operating system: a killed program then loses none of them."""

    def finish(self) -> None:
        """Write what the format has at its end."""


def is_mcap(path: Path) -> bool:
    """Whether a file of that name is MCAP."""
    return path.suffix.lower() == ".mcap"


def read_messages(path: Path, *, whole: bool = False) -> Iterator[Recorded]:
    """The messages of a file, in its order.

    Of JSON Lines every line is one: a body, or `{"topic": ..., "body": ...}` as `watch --json` prints it. Of MCAP those
    on the topics that `streamer.mcap_file` writes.

    Args:
        path: the file; MCAP if its name ends so.
        whole: whether a last message that was cut off, as a killed program leaves it, is an error. Otherwise it is left
            out with a warning.

    Raises:
        LabelFileError: the file is missing or damaged, or a line is no message; says which.
        MissingLibraryError: the library that reads MCAP is not installed.
    """
    try:
        with path.open("rb") as stream:
            yield from (_of_mcap if is_mcap(path) else _of_lines)(path, stream, whole)
    except FileNotFoundError:
        raise LabelFileError(f"no labels at {path}; `annotate` writes them as NAME.labels.jsonl") from None
    except OSError as error:
        raise LabelFileError(f"cannot read {path}: {error.strerror or error}") from error


def message_writer(path: Path, stream: BinaryIO) -> MessageWriter:
    """A writer into `stream`, in the format that the ending of `path` names.

    Raises:
        MissingLibraryError: the library that writes MCAP is not installed.
    """
    return McapWriter(path, stream) if is_mcap(path) else _LineWriter(stream)


def check_format(path: Path) -> None:
    """Raise MissingLibraryError if a file of that name cannot be written here; for before hours of work."""
    if is_mcap(path):
        require_mcap()


def write_messages(target: Path, messages: Iterable[tuple[bytes, Body]]) -> None:
    """Write a file of messages (see `MessageWriter.add`), whole or not at all.

    Raises:
        OutputError: it cannot be written.
        MissingLibraryError: the library that writes MCAP is not installed.
    """
    check_format(target)
    file = PendingFile(target)
    try:
        with output_errors(target), file.path.open("wb") as stream:
            writer = message_writer(target, stream)
            for data, body in messages:
                writer.add(data, body)
            writer.finish()
        file.commit()
    finally:
        file.discard()


class _LineWriter:
    """A body a line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def add(self, data: bytes, body: Body) -> None:  # noqa: ARG002 - `data` is all of it
        self._stream.write(data + b"\n")

    def flush(self) -> None:
        self._stream.flush()

    def finish(self) -> None:
        self.flush()


def _of_mcap(path: Path, stream: BinaryIO, whole: bool) -> Iterator[Recorded]:
    number = 0
    try:
        for number, data in enumerate(mcap_messages(path, stream), start=1):
            where = f"{path} message {number}"
            yield _recorded(number, where, data, _parse(where, data))
    except CutOff:
        if whole:
            raise LabelFileError(f"{path} is cut off after message {number}{_REMEDY}") from None
        _LOG.warning("%s was not finished; it is read up to its last whole message (%d)", path, number)


def _of_lines(path: Path, stream: BinaryIO, whole: bool) -> Iterator[Recorded]:
    for number, line in _lines(path, stream):
        where = f"{path} line {number}"
        try:
            value = _parse(where, line)
        except LabelFileError:
            if line.endswith(b"\n"):
                raise
            if whole:
                raise LabelFileError(f"{where}: not JSON; the end of the line is missing{_REMEDY}") from None
            _LOG.warning("%s: the last line (%d) is cut off and left out", path, number)
            return
        yield _recorded(number, where, line.strip(), value)


def _lines(path: Path, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise LabelFileError(f"{path} line {number} is far too long for a label; this is no file of labels")
        if line.strip():
            yield number, line


def _parse(where: str, data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LabelFileError(f"{where} is no JSON: {error}") from None


def _recorded(number: int, where: str, text: bytes, value: object) -> Recorded:
    """The message in a JSON value, which may stand beside its topic."""
    is_wrapped = isinstance(value, dict) and "topic" in value
    body = value.get("body") if isinstance(value, dict) and is_wrapped else value
    if not isinstance(body, dict):
        raise LabelFileError(f"{where} is no message, which is a JSON object")
    return Recorded(number, where, body, None if is_wrapped else text)
