"""`<stem>.timeline.json`: which scene stood from when to when (see `streamer.timeline`)."""

from __future__ import annotations

import json
from pathlib import Path

from config.plugins import PluginParams
from streamer.encoding import plain
from streamer.errors import OutputError
from streamer.files import PendingFile, output_errors
from streamer.sinks.base import Sink, Target
from streamer.sources.base import SourceInfo
from streamer.state import SceneState
from streamer.timeline import Timeline


class Params(PluginParams):
    """The sink `timeline` has no parameters."""


class TimelineSink(Sink):
    """Gathers the timeline and writes it at the end.

    Args:
        target: the file's place.
    """

    def __init__(self, target: Target) -> None:
        self._path = target.file("timeline.json")
        self._parts = target.parts
        self._timeline = Timeline()
        self._pending: PendingFile | None = None
        self._source: SourceInfo | None = None

    def open(self, source: SourceInfo) -> None:
        """Make the unfinished file now, so that a folder that takes no files is known before hours of work."""
        self._source = source
        self._pending = PendingFile(self._path, self._parts)

    def recall(self, state: SceneState) -> None:
        """Take one state of an earlier run into account."""
        self._timeline.add(state)

    def write(self, state: SceneState) -> None:
        """Take one state into account."""
        self._timeline.add(state)

    def close(self) -> list[Path]:
        """Write the timeline and move it to its place."""
        assert self._pending is not None and self._source is not None, "close comes after open"
        if self._timeline.frames == 0:
            self._pending.discard()
            return []
        text = json.dumps(plain(self._timeline.body(self._source)), indent=2, ensure_ascii=False, allow_nan=False)
        try:
            with output_errors(self._path):
                self._pending.path.write_text(text + "\n", encoding="utf-8")
        except OutputError:
            self._pending.discard()
            raise
        return [self._pending.commit()]

    def abort(self) -> None:
        """Remove the unfinished file."""
        if self._pending is not None:
            self._pending.discard()


def build(params: Params, *, target: Target) -> Sink:  # noqa: ARG001 - there are none
    """The sink `timeline`."""
    return TimelineSink(target)
