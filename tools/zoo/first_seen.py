"""The SHA-256 of every file that was downloaded on this machine, where no official one is known.

The first download of an address is recorded in the user's cache folder; a later one that differs is refused.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from config.errors import UserError
from config.folders import cache_folder
from streamer.files import PendingFile, output_errors
from tools.zoo.locking import alone


@dataclass(frozen=True, slots=True)
class Record:
    """What was seen at an address: SHA-256, size in bytes, and the day (ISO 8601)."""

    sha256: str
    size: int
    day: str


def records_file() -> Path:
    """Where the records are; it need not exist yet."""
    return cache_folder() / "downloads" / "first-seen.json"


def seen_before(address: str) -> Record | None:
    """The record of an address.

    Raises:
        UserError: the records are damaged.
    """
    return _read(records_file()).get(address)


def record(address: str, sha256: str, size: int) -> None:
    """Record what an address gave, in place of what it gave before.

    Raises:
        UserError: the records are damaged or cannot be written.
    """
    _change(address, Record(sha256, size, datetime.datetime.now(datetime.UTC).date().isoformat()))


def forget(address: str) -> None:
    """Drop the record of an address, if there is one.

    Raises:
        UserError: the records are damaged or cannot be written.
    """
    _change(address, None)


def _change(address: str, new: Record | None) -> None:
    file = records_file()
    with alone(file.with_name(f"{file.name}.lock")):
        records = _read(file)
        records.pop(address, None)
        if new is not None:
            records[address] = new
        pending = PendingFile(file)
        try:
            text = json.dumps({key: asdict(value) for key, value in sorted(records.items())}, indent=1)
            with output_errors(file):
                pending.path.write_text(text + "\n", encoding="utf-8")
            pending.commit()
        finally:
            pending.discard()


def _read(file: Path) -> dict[str, Record]:
    try:
        return {key: Record(**value) for key, value in json.loads(file.read_text(encoding="utf-8")).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file}, the record of downloads, cannot be read ({error}); delete it to begin anew"
        ) from error
