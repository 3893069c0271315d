"""`<stem>.labels.jsonl`: the label message of every frame, one JSON object a line, as a subscriber would get it."""

from __future__ import annotations

import time
from io import BufferedWriter
from pathlib import Path

from config.plugins import PluginParams
from streamer.files import PendingFile, output_error, output_errors
from streamer.message import encode, evidence_body, label_body
from streamer.sinks.base import Sink, Target
from streamer.sources.base import SourceInfo
from streamer.state import SceneState


class Params(PluginParams):
    """Parameters of `jsonl`.

    record_probabilities: keep the probabilities of all scenes, for `scene-streamer resmooth`.
    """

    record_probabilities: bool = True


class JsonlSink(Sink):
    """Writes label bodies of protocol version 1.

    Args:
        path: the file to write.
        run: UUID of this run.
        record_probabilities: add `probabilities` and `raw_p_unknown` to the bodies.
    """

    def __init__(self, path: Path, run: str, *, record_probabilities: bool = True) -> None:
        self._path = path
        self._run = run
        self._record_probabilities = record_probabilities
        self._pending: PendingFile | None = None
        self._lines: BufferedWriter | None = None
        self._count = 0

    def open(self, source: SourceInfo) -> None:  # noqa: ARG002 - each label names its source
        """Make the unfinished file."""
        self._pending = PendingFile(self._path)
        with output_errors(self._path):
            self._lines = self._pending.path.open("wb")

    def write(self, state: SceneState) -> None:
        """Append the label of one frame."""
        assert self._lines is not None, "write comes after open"
        body = label_body(state, run=self._run, t_publish_ns=time.time_ns())
        if self._record_probabilities:
            body |= evidence_body(state.prediction)
        with output_errors(self._path):
            self._lines.write(encode(body, "json") + b"\n")
        self._count += 1

    def close(self) -> list[Path]:
        """Move the file to its place."""
        assert self._pending is not None and self._lines is not None, "close comes after open"
        try:
            self._lines.close()
        except OSError as error:
            self.abort()
            raise output_error(self._path, error) from error
        if self._count == 0:
            self._pending.discard()
            return []
        return [self._pending.commit()]

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
    return JsonlSink(target.file("labels.jsonl"), target.run, record_probabilities=params.record_probabilities)
