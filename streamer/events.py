"""What travels beside frames and states: a source opened, was lost and found again, or ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamer.channel import Policy
from streamer.frame import Frame
from streamer.sources.base import SourceInfo
from streamer.state import Drops, SceneState


@dataclass(frozen=True, slots=True)
class Opened:
    """A source delivers from here on, frames dropped or not as `policy` says."""

    source: str
    info: SourceInfo
    policy: Policy


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """A live source went silent (`cause`) and is about to be opened again for the `attempt`-th time."""

    source: str
    cause: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Reconnected:
    """A live source is back, in a new `epoch`, after `attempt` attempts."""

    source: str
    cause: str
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A source delivers nothing more. `cause` is `end`, `max-frames`, `stop` or `error`; then `error` says why."""

    source: str
    cause: str
    error: BaseException | None = None
    drops: Drops = field(default_factory=Drops)


SourceEvent = Opened | Reconnecting | Reconnected | Ended

CaptureItem = Frame | SourceEvent
"""What a capture thread hands to the inference worker."""

StreamItem = SceneState | SourceEvent
"""What the inference worker hands on: to the publisher, to `open_stream`."""
