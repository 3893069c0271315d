"""`<stem>.labels.jsonl`: the label message of every frame, one JSON object a line, as a subscriber would get it."""

from __future__ import annotations

import shutil
import time
from io import BufferedWriter
from pathlib import Path

from config.plugins import PluginParams
from streamer.files import PendingFile, output_error, output_errors, to_disk
from streamer.message import encode, evidence_body, label_body
from streamer.sinks.base import Segment, Sink, Target
from streamer.sources.base import SourceInfo
from streamer.state import SceneState

_ENDING = "labels.jsonl"


class Params(PluginParams):
    """Parameters of `jsonl`.

    record_probabilities: keep the probabilities of all scenes, for `scene-streamer resmooth`.
    """

    record_probabilities: bool = True


class JsonlSink(Sink):
    """Writes label bodies of protocol version 1: straight into the file, or a part per segment of a job that has parts.

    Args:
        target: the file's place and the UUID of this run.
        record_probabilities: add `probabilities` and `raw_p_unknown` to the bodies.
    """

    def __init__(self, target: Target, *, record_probabilities: bool = True) -> None:
        self._path = target.file(_ENDING)
        self._target = target
        self._record_probabilities = record_probabilities
        self._pending: PendingFile | None = None
        self._parts: list[Path] = []
        self._lines: BufferedWriter | None = None
        self._count = 0

    def open(self, source: SourceInfo) -> None:  # noqa: ARG002 - each label names its source
        """Make the unfinished file."""
        self._pending = PendingFile(self._path, self._target.parts)

    def recall(self, state: SceneState) -> None:  # noqa: ARG002 - its line stands in a part
        """Count it."""
        self._count += 1

    def begin(self, segment: Segment) -> None:
        """Open the file of this segment."""
        assert self._pending is not None, "begin comes after open"
        if self._target.parts is not None:
            self._parts = [self._target.part(number, _ENDING) for number in range(segment.number + 1)]
        with output_errors(self._path):
            self._lines = self._parts[-1].open("wb") if self._parts else self._pending.path.open("ab")

    def write(self, state: SceneState) -> None:
        """Append the label of one frame."""
        assert self._lines is not None, "write comes after begin"
        body = label_body(state, run=self._target.run, t_publish_ns=time.time_ns())
        if self._record_probabilities:
            body |= evidence_body(state.prediction)
        with output_errors(self._path):
            self._lines.write(encode(body, "json") + b"\n")
        self._count += 1

    def end(self, segment: Segment) -> None:  # noqa: ARG002 - it is the one that began
        """Bring the segment's lines to the disk."""
        assert self._lines is not None, "end comes after begin"
        lines, self._lines = self._lines, None
        try:
            lines.close()
            if self._parts:
                to_disk(self._parts[-1])
        except OSError as error:
            self.abort()
            raise output_error(self._path, error) from error

    def close(self) -> list[Path]:
        """Move the file to its place."""
        assert self._pending is not None, "close comes after open"
        try:
            if self._count == 0:
                return []
            with output_errors(self._path), self._pending.path.open("ab") as whole:
                for part in self._parts:
                    with part.open("rb") as lines:
                        shutil.copyfileobj(lines, whole)
            return [self._pending.commit()]
        finally:
            self._pending.discard()

    def abort(self) -> None:
        """Remove the unfinished file."""
        if self._lines is not None:
            _close_quietly(self._lines)
        if self._pending is not None:
            self._pending.discard()


def _close_quietly(file: BufferedWriter) -> None:
    # A full disk fails again on the buffered rest, and the file is closed all the same.
    try:
        file.close()
    except OSError:
        return


def build(params: Params, *, target: Target) -> Sink:
    """The sink `jsonl`."""
    return JsonlSink(target, record_probabilities=params.record_probabilities)
