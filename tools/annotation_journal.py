"""The journal of an annotation: which segments are done, and whose they are, so that a killed job can go on.

`DIR/.<stem>.annotated.parts/` holds, of every segment, its part of the film, its labels and its history, and
`journal.jsonl`: a head that says what the job is, then a line for each segment whose files are on the disk for good.
What a killed process left beyond the last line counts for nothing and is written anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal

from streamer.errors import OutputError
from streamer.files import output_errors, to_disk
from streamer.history import History, Memory, Moment
from streamer.sources.base import SourceInfo

Mode = Literal["new", "resume", "restart"]
Identity = Mapping[str, Mapping[str, Any]]
"""What a job is: the recording, the settings... each with its properties, in JSON's types."""

_VERSION = 1
_LONGEST_STEM = 180  # bytes; the folder's name is longer than those of the results
_HISTORY = "history.npz"
_ANEW = "--restart does it anew"


def parts_folder(directory: Path, stem: str) -> Path:
    """Where the parts of the job that annotates the recording of that stem stand."""
    name = stem.encode()
    if len(name) > _LONGEST_STEM:
        stem = name[:_LONGEST_STEM].decode(errors="ignore") + "~" + hashlib.sha256(name).hexdigest()[:16]
    return directory / f".{stem}.annotated.parts"


class Journal:
    """The segments of one job. A context manager: what is worth resuming stays, an empty folder goes.

    Args:
        folder: of the parts.
        identity: what the job is.
        mode: `new` refuses a folder that holds segments, `resume` goes on with them, `restart` removes them.
        run: UUID of a job that starts anew.

    Raises:
        OutputError: there are segments where none may be, they are another job's, or the folder cannot be read.
    """

    def __init__(self, folder: Path, identity: Identity, mode: Mode, run: str) -> None:
        self.folder = folder
        self.run = run
        """UUID of the job; that of the first run where it is resumed."""
        self.info: SourceInfo | None = None
        """What the first run knew of the source; None before `start`."""
        self._identity = identity
        self._segments: list[dict[str, Any]] = []
        self._file: TextIOWrapper | None = None
        if self._path.exists():
            with output_errors(folder):
                self._read(self._lock(), mode)

    @property
    def _path(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def next_number(self) -> int:
        """The number of the segment that comes next."""
        return len(self._segments)

    def memory(self) -> Memory:
        """The past of a job that is resumed. Raises OutputError where a file of it is missing or damaged."""
        for number, segment in enumerate(self._segments):
            if self._sizes(number) != segment["files"]:
                raise OutputError(f"{self.folder} is damaged: files of segment {number} are not as they were; {_ANEW}")
        return Memory([History.read(self._history(number)) for number in range(self.next_number)])

    def start(self, info: SourceInfo) -> None:
        """Begin a job from nothing. Raises OutputError: the folder cannot be made."""
        self.info = info
        with output_errors(self.folder.parent):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        with output_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
            self._lock()
            head = {"version": _VERSION, "run": self.run, "info": _plain_info(info), "job": self._identity}
            self._append(head)
            to_disk(self.folder.parent)

    def add(self, moments: Sequence[Moment]) -> None:
        """Record a segment whose files are complete. Raises OutputError where the disk does not take it."""
        number = self.next_number
        History.of(moments).write(self._history(number))
        segment = {
            "segment": number,
            "first_pts": moments[0].pts,
            "last_pts": moments[-1].pts,
            "frames": len(moments),
            "files": self._sizes(number),
        }
        with output_errors(self.folder):
            to_disk(self.folder)
            self._append(segment)
        self._segments.append(segment)

    def remove(self) -> None:
        """Remove the folder: the results stand at their place."""
        self._segments = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is None:  # nothing was begun
            return
        if not self._segments:
            self.remove()
        self._file.close()

    def _history(self, number: int) -> Path:
        return self.folder / f"{number:06d}.{_HISTORY}"  # named as `Target.part` names those of the sinks

    def _sizes(self, number: int) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in sorted(self.folder.glob(f"{number:06d}.*"))}

    def _lock(self) -> TextIOWrapper:
        """Open the journal for this process alone; the system lets go of it however the process ends."""
        if self._file is not None:
            return self._file
        file = self._path.open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise OutputError(f"{self.folder}: another process is at this recording; wait for it or end it") from error
        self._file = file
        return file

    def _append(self, entry: Mapping[str, Any]) -> None:
        assert self._file is not None, "an entry comes after `start`"
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        to_disk(self._path)

    def _read(self, file: TextIOWrapper, mode: Mode) -> None:
        """Take up what is there, or refuse to."""
        entries, length = _whole_lines(self._path)
        if mode == "restart" or len(entries) < 2:
            entries, length = [], 0
        file.truncate(length)  # what a power cut left of a line must not run into the next
        self._sweep(max(0, len(entries) - 1))
        if not entries:
            return
        head, self._segments = entries[0], entries[1:]
        why = self._why_not(head, mode)
        if why is not None:
            file.close()
            raise OutputError(f"{self.folder}: {why}")
        self.run, self.info = head["run"], _info(head["info"])

    def _why_not(self, head: Mapping[str, Any], mode: Mode) -> str | None:
        """Why this job cannot go on with the segments of a journal with that head; None if it can."""
        if mode == "new":
            frames = sum(segment["frames"] for segment in self._segments)
            return f"an unfinished job stands there, {frames} frames are done; --resume goes on, --restart does it anew"
        if head.get("version") != _VERSION:
            return f"the unfinished job is of another version; {_ANEW}"
        changes = _changes(head["job"], json.loads(json.dumps(self._identity)))
        if changes:
            return f"the unfinished job is not this one: {'; '.join(changes)}; make it the same, or {_ANEW}"
        return None

    def _sweep(self, done: int) -> None:
        """Remove what belongs to no segment that is done."""
        for path in self.folder.iterdir():
            number = path.name.partition(".")[0]
            if path != self._path and not (number.isdecimal() and int(number) < done):
                path.unlink()


def _whole_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The entries up to the first line that is no whole one, and their length in bytes."""
    entries: list[dict[str, Any]] = []
    length = 0
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            entries.append(json.loads(line if line.endswith(b"\n") else b""))
        except ValueError:
            break
        length += len(line)
    return entries, length


def _changes(before: Identity, now: Identity) -> list[str]:
    """What differs between two jobs, in words."""
    found = []
    for part in {**before, **now}:
        old, new = before.get(part, {}), now.get(part, {})
        for key in {**old, **new}:
            if old.get(key) != new.get(key):
                found.append(f"{part} {key} was {old.get(key)}, is {new.get(key)}")
    return found


def _plain_info(info: SourceInfo) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Fraction) else value for key, value in asdict(info).items()}


def _info(plain: Mapping[str, Any]) -> SourceInfo:
    fractions = {key: Fraction(plain[key]) for key in ("time_base", "frame_rate") if plain[key] is not None}
    return SourceInfo(**{**plain, **fractions})
