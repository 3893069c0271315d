"""Reading the bus: `LabelSubscriber` for labels, events and heartbeats, `FrameSubscriber` for annotated frames.

    from streamer.client import LabelSubscriber

    with LabelSubscriber("tcp://127.0.0.1:5555", source="cam1") as labels:
        for message in labels:
            print(message.body["stable"]["scene"], message.body["stable"]["p"])

Needs neither networks nor video: a robot that only listens loads little.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import zmq

from streamer.channel import Channel, EndOfChannel, Inbox
from streamer.closing import Closing
from streamer.errors import ChannelClosed, MessageError
from streamer.frame import Picture
from streamer.link import Link, parse, prefixes
from streamer.message import Body
from streamer.worker import Worker

__all__ = ["FrameSubscriber", "LabelSubscriber", "Message"]

_BACKLOG = 100_000
_LARGEST_BODY = 1 << 20
_LARGEST_FRAME = 64 << 20
_MOST_TOPICS = 4096
_POLL_MS = 100


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the bus: its topic, such as `L/cam1/`, and its body (`docs/protocol.md`)."""

    topic: str
    body: Body


class LabelSubscriber(Closing):
    """Labels of one source or of all, as they come.

    Messages wait in memory while the reader is busy (at most 100,000), so a reader of a recording that is slower than
    the run still gets every label. Belongs to one thread.

    Args:
        address: where the publisher is ("tcp://127.0.0.1:5555"); it may come later, go and come back.
        source: name of a source; None for all.
        kinds: `L` labels, `E` events, `H` heartbeats, `F` headers of annotated frames (on their own address).
        timeout_s: iteration ends after that much silence; None waits for ever.
        context: that of the publisher, for `inproc://`.

    Raises:
        AddressRefused: `address` is none.
        ConfigError: `source` can be no name of a source, or a kind is unknown.
    """

    def __init__(
        self,
        address: str,
        source: str | None = None,
        *,
        kinds: Sequence[str] = ("L",),
        timeout_s: float | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.garbage = 0
        """Messages that were none of protocol version 1 and have been skipped."""
        self.lost = 0
        """Messages that are missing: gaps in `seq`, and what a new run said before this reader was back."""
        self.runs = 0
        """Runs of publishers seen; above 1 the publisher has been restarted."""
        self._timeout_s = timeout_s
        self._seen: dict[str, tuple[str, int]] = {}  # topic: run and last seq
        self._run: str | None = None
        self._link = Link(address, prefixes(kinds, source), _BACKLOG, _LARGEST_BODY, context)

    def receive(self, timeout_s: float | None = None) -> Message | None:
        """The next message, waiting up to `timeout_s` (None: for ever); None if there was none."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            parts = self._link.receive(deadline_s)
            if parts is None:
                return None
            message = self._read(parts)
            if message is not None:
                return message

    def __iter__(self) -> Iterator[Message]:
        """Messages as they come; ends after `timeout_s` of silence."""
        while (message := self.receive(self._timeout_s)) is not None:
            yield message

    def close(self) -> None:
        """Hang up. May be repeated."""
        self._link.close()

    def _read(self, parts: list[bytes]) -> Message | None:
        """The message in `parts`; garbage is counted."""
        try:
            kind, source, body = parse(parts)
        except MessageError:
            self.garbage += 1
            return None
        name = f"{kind}/{source}/"
        self._count(name, body["run"], body["seq"])
        return Message(name, body)

    def _count(self, name: str, run: str, seq: int) -> None:
        """Keep count of gaps and runs."""
        if run != self._run:
            self._run = run
            self.runs += 1
        before = self._seen.get(name)
        if before is None and len(self._seen) >= _MOST_TOPICS:
            return
        self._seen[name] = (run, seq)
        if before is None:
            return  # joined here; what came earlier was not for this reader
        expected = before[1] + 1 if before[0] == run else 0
        self.lost += max(0, seq - expected)


class FrameSubscriber(Closing):
    """Annotated frames of one source or of all: always the newest, however long the reader takes.

    A thread reads along and keeps the newest frame of each source, since small queues alone do not bound how stale a
    frame gets (see `docs/protocol.md`); frames are decompressed when they are taken.

    Args:
        address: the publisher's address of frames.
        source: name of a source; None for all.
        timeout_s: iteration ends after that much silence; None waits for ever.
        context: that of the publisher, for `inproc://`.

    Raises:
        AddressRefused: `address` is none.
        ConfigError: `source` can be no name of a source.
    """

    def __init__(
        self,
        address: str,
        source: str | None = None,
        *,
        timeout_s: float | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.garbage = 0
        """Messages that were no frames and have been skipped."""
        self.skipped = 0
        """Frames that were replaced by newer ones before they were taken."""
        self._timeout_s = timeout_s
        self._link = Link(address, prefixes("F", source), 2, _LARGEST_FRAME, context)
        self._inbox: Inbox[tuple[Body, bytes]] = Inbox()
        # Keeps the inbox open: it would end where there is no lane yet.
        self._inbox.lane(1, "latest")
        self._newest: dict[str, Channel[tuple[Body, bytes]]] = {}
        self._reader = Worker("frame reader", self._read_along, inputs=[self._inbox])
        self._closing = False
        self._reader.start()

    def receive(self, timeout_s: float | None = None) -> tuple[Body, Picture] | None:
        """The newest frame not yet taken, waiting up to `timeout_s` (None: for ever) for one.

        Returns:
            Its header and H×W×3 uint8 RGB; None if there was none.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            remaining_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            try:
                header, data = self._inbox.get(remaining_s)
            except (TimeoutError, EndOfChannel):
                return None
            picture = _picture(data)
            if picture is not None:
                return header, picture
            self.garbage += 1

    def __iter__(self) -> Iterator[tuple[Body, Picture]]:
        """Frames as they come; ends after `timeout_s` of silence."""
        while (frame := self.receive(self._timeout_s)) is not None:
            yield frame

    def close(self) -> None:
        """Hang up. May be repeated."""
        self._closing = True
        self._inbox.cancel()
        self._reader.join()
        self._link.close()

    def _read_along(self) -> None:
        """Body of the reader's thread: keep only the newest."""
        while not self._closing:
            parts = self._link.receive(time.monotonic() + _POLL_MS / 1000)
            if parts is None:
                continue
            try:
                kind, source, header = parse(parts)
            except MessageError:
                kind = source = ""
            if kind != "F" or len(parts) != 3:
                self.garbage += 1
                continue
            self._keep(source, header, parts[2])

    def _keep(self, source: str, header: Body, data: bytes) -> None:
        slot = self._newest.get(source)
        if slot is None:
            if len(self._newest) >= _MOST_TOPICS:
                return
            slot = self._newest[source] = self._inbox.lane(1, "latest")
        try:
            slot.put((header, data))
        except ChannelClosed:
            return
        self.skipped = sum(lane.dropped for lane in self._newest.values())


def _picture(data: bytes) -> Picture | None:
    """H×W×3 uint8 RGB from compressed `data`; None if it is no picture."""
    # Loaded on first use: who reads labels alone needs no pictures.
    import cv2
    import numpy as np

    try:
        decoded: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
    picture: Picture | None = decoded
    return picture
