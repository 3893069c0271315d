"""Keeps states in memory: for tests, notebooks, and programs that want a recording's states as a list."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from pydantic import Field

from config.plugins import PluginParams
from streamer.sinks.base import Sink, Target
from streamer.sources.base import SourceInfo
from streamer.state import SceneState


class Params(PluginParams):
    """Parameters of the sink `memory`."""

    newest: int | None = Field(None, ge=1, description="keep that many states, the newest; default: all of them")


class MemorySink(Sink):
    """Keeps the states it is given; writes no file.

    Attributes:
        source: what was opened; None before.
        states: the states, oldest first. Each holds its frame, so a long recording needs `newest`.
        closed: the run ended well.
    """

    def __init__(self, newest: int | None = None) -> None:
        self.source: SourceInfo | None = None
        self.states: deque[SceneState] = deque(maxlen=newest)
        self.closed = False

    def open(self, source: SourceInfo) -> None:
        """Remember the source."""
        self.source = source

    def write(self, state: SceneState) -> None:
        """Keep the state."""
        self.states.append(state)

    def close(self) -> list[Path]:
        """No files."""
        self.closed = True
        return []

    def abort(self) -> None:
        """Forget everything."""
        self.states.clear()


def build(params: Params, *, target: Target) -> Sink:  # noqa: ARG001 - writes nowhere
    """The sink `memory`."""
    return MemorySink(params.newest)
