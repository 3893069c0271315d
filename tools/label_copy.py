"""Recorded labels from one format to another, byte for byte; of a cut file, what is whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from streamer.encoding import Body
from streamer.errors import LabelFileError, MessageError
from streamer.message import check_head
from streamer.message_file import read_messages, write_messages


def copy_labels(labels: Path, output: Path) -> int:
    """Copy a file of messages (see `streamer.message_file`); a last one that is cut off is left out with a warning.

    Args:
        labels: the file.
        output: the file to write, MCAP if its name ends so.

    Returns:
        How many labels there were.

    Raises:
        LabelFileError: the file cannot be read, or holds no labels, or something that is no message.
        OutputError: the output cannot be written.
        MissingLibraryError: MCAP without the library for it.
    """
    count = 0

    def messages() -> Iterator[tuple[bytes, Body]]:
        nonlocal count
        for message in read_messages(labels):
            try:
                check_head(message.body)
                yield message.data, message.body
            except MessageError as error:
                raise LabelFileError(f"{message.where}: {error}") from error
            count += message.body["type"] == "label"
        if count == 0:
            raise LabelFileError(f"{labels} holds no labels")

    write_messages(output, messages())
    return count
