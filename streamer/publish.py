"""The publisher: one thread that owns the sockets of the bus and says what the pipeline found (`docs/protocol.md`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import zmq

from config.schema import BusSettings
from streamer.binding import LINGER_MS, frames_socket, labels_socket
from streamer.channel import EndOfChannel, Inbox
from streamer.closing import Closing
from streamer.events import Ended, StreamItem
from streamer.feed import Feed, Now, Outgoing
from streamer.message import EncodedFrame, encode, frame_topic, label_topic
from streamer.rules.firing import Firing
from streamer.state import SceneState
from streamer.subscriptions import Subscriptions

BusItem = StreamItem | EncodedFrame | Firing
"""What the publisher takes: states and events of the pipeline, annotated frames, rules that have fired."""

_TICK_S = 0.05  # how long a new subscription may wait to be noticed
_RETRY_S = 0.005
PATIENCE_S = 3.0
"""How long a lossless publisher waits for a subscriber that takes nothing, before that one loses messages."""


class Publisher(Closing):
    """Owns the sockets. `bind` them, run `serve` as the body of a worker, `close` if it never ran.

    The sockets are made and bound by the thread that calls `bind`, so that an address in use ends the run before
    anything is loaded, and handed over once to the thread that runs `serve`; starting that thread is the barrier that
    ZeroMQ asks for. `frames_wanted` and `wait_subscriber` may be called from any thread.

    Args:
        settings: addresses, encoding, pace of heartbeats.
        run: UUID of this start.
        sources: names of all sources of the run.
        lossless: for recordings: wait for subscribers that read slowly instead of dropping their labels. One that
            takes nothing for `PATIENCE_S` loses messages from then on, until it has caught up; the others do not.
        stop: set when the run is to end; then nobody is waited for.
        stalled_after_s: seconds without a label after which a source that has delivered counts as stalled.
        context: for `inproc://`; without it the publisher makes its own.
    """

    def __init__(
        self,
        settings: BusSettings,
        run: str,
        sources: Sequence[str],
        *,
        lossless: bool = False,
        stop: threading.Event | None = None,
        stalled_after_s: float = 3.0,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        self.overruns = 0
        """Messages that a lossless publisher sent although a subscriber that takes nothing had no room for them."""
        self._settings = settings
        self._feeds = {name: Feed(name, run, stalled_after_s) for name in sources}
        self._lossless = lossless
        self._stop = stop or threading.Event()
        self._own_context = context is None
        self._context = context
        self._labels: zmq.Socket[bytes] | None = None
        self._frames: zmq.Socket[bytes] | None = None
        self._label_peers = Subscriptions([label_topic(name) for name in sources])
        self._frame_peers = Subscriptions([frame_topic(name) for name in sources])
        self._next_beat_s = 0.0
        self._next_drain_s = 0.0

    # ---------------------------------------------------------------- any thread

    def bind(self) -> None:
        """Bind the sockets that the settings ask for.

        Raises:
            AddressInUse: another program has an address; the message says what to do.
            AddressRefused: an address cannot or must not be bound.
        """
        if self._context is None:
            self._context = zmq.Context()
        try:
            if self._settings.labels != "off":
                self._labels = labels_socket(self._context, self._settings.labels, lossless=self._lossless)
            if self._settings.frames != "off":
                self._frames = frames_socket(self._context, self._settings.frames)
        except BaseException:
            self.close()
            raise
        self.labels_address, self.frames_address = _endpoint(self._labels), _endpoint(self._frames)

    labels_address: str | None = None
    """Where labels can be had, with the real port; None if off or not bound."""
    frames_address: str | None = None
    """Where annotated frames can be had; None if off or not bound."""

    def frames_wanted(self, source: str) -> bool:
        """Whether someone subscribes to the annotated frames of `source`."""
        return frame_topic(source) in self._frame_peers.covered

    def wait_subscriber(self, timeout_s: float, stop: threading.Event | None = None) -> bool:
        """Wait until someone subscribes to labels, while another thread runs `serve`.

        Returns:
            Whether a subscriber is there; False after `timeout_s`, once `stop` is set, or where labels are off.
        """
        deadline_s = time.monotonic() + timeout_s
        stop = stop or self._stop
        while self.labels_address is not None and not stop.is_set():
            if self._label_peers.covered:
                return True
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                break
            stop.wait(min(_TICK_S, remaining_s))
        return bool(self._label_peers.covered)

    def close(self) -> None:
        """Close sockets and context; labels on their way get the second that the protocol allows. May be repeated."""
        for socket in (self._frames, self._labels):
            if socket is not None:
                socket.close()  # each has its own linger
        self._labels = self._frames = None
        if self._context is not None and self._own_context:
            self._context.term()
            self._context = None

    # ------------------------------------------------------- the publisher's thread

    def serve(self, inbox: Inbox[BusItem]) -> None:
        """Publish everything from `inbox` until all its lanes have ended, then close. Every source gets its `bye`.

        Raises:
            BaseException: the error with which a sender died, after the byes.
        """
        try:
            cause, error = "stop" if self._stop.is_set() else "end", None
            try:
                self._publish_all(inbox)
            except BaseException as failure:
                cause, error = "error", failure
                raise
            finally:
                if self._stop.is_set() and error is None:
                    cause = "stop"
                for name in self._active():
                    self._take(Ended(name, cause, error))
                self._let_readers_catch_up()
        finally:
            self.close()

    def _publish_all(self, inbox: Inbox[BusItem]) -> None:
        while True:
            self._housekeeping()
            try:
                item = inbox.get(min(_TICK_S, max(0.0, self._next_beat_s - time.monotonic())))
            except TimeoutError:
                continue
            except EndOfChannel:
                return
            self._take(item)

    def _let_readers_catch_up(self) -> None:
        """Spend the time to linger with connections open, until the readers of a recording have left.

        A reader that is behind answers ZeroMQ's heartbeats late; into a closed connection such an answer would throw
        away what is still on its way to it.
        """
        if self._labels is None or not self._lossless:
            return
        end_s = time.monotonic() + LINGER_MS / 1000
        self._label_peers.drain(self._labels)
        while self._label_peers.covered and time.monotonic() < end_s:
            time.sleep(_RETRY_S)
            self._label_peers.drain(self._labels)
        self._labels.setsockopt(zmq.LINGER, max(0, round((end_s - time.monotonic()) * 1000)))

    def _take(self, item: BusItem) -> None:
        """Publish what `item` gives rise to."""
        feed, now = self._feeds[item.source], _now()
        if isinstance(item, EncodedFrame):
            self._send_frame(feed.frame(item, now), item.data)
        elif isinstance(item, SceneState):
            self._send_all(feed.label(item, now))
        elif isinstance(item, Firing):
            self._send(feed.rule(item, now))
        elif isinstance(item, Ended):
            active = [name for name in self._active() if name != item.source]
            self._send_all(feed.bye(item, active, now))
        else:
            self._send_all(feed.event(item, now))

    def _active(self) -> list[str]:
        return [name for name, feed in self._feeds.items() if not feed.ended]

    def _housekeeping(self) -> None:
        """Notice who subscribes; send heartbeats when they are due."""
        now_s = time.monotonic()
        if now_s >= self._next_drain_s:
            self._next_drain_s = now_s + _TICK_S
            self._label_peers.drain(self._labels)
            self._frame_peers.drain(self._frames)
        if now_s >= self._next_beat_s:
            self._next_beat_s = max(self._next_beat_s + self._settings.heartbeat_s, now_s)
            for feed in self._feeds.values():
                self._send_all(feed.stall(_now()))
                # A heartbeat is for the moment: where there is no room for it, the next one will do.
                self._try_send(feed.heartbeat(_now()))

    def _send_all(self, messages: Sequence[Outgoing]) -> None:
        for message in messages:
            self._send(message)

    def _send(self, message: Outgoing) -> None:
        """Send a label or an event; a lossless publisher waits for room, within its patience."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not self._try_send(message):
            if self._stop.is_set() or time.monotonic() > deadline_s:
                self._overrun(message)
                return
            time.sleep(_RETRY_S)

    def _try_send(self, message: Outgoing) -> bool:
        """Send without waiting; False if a lossless publisher found no room."""
        if self._labels is None:
            return True
        topic, body = message
        try:
            self._labels.send_multipart([topic, encode(body, self._settings.encoding)], zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _overrun(self, message: Outgoing) -> None:
        """Send to those who have room. ZeroMQ then leaves the others out until they have taken half of their queue,
        so one that takes nothing delays the run only once.
        """
        assert self._labels is not None
        self.overruns += 1
        self._labels.setsockopt(zmq.XPUB_NODROP, 0)
        try:
            self._try_send(message)
        finally:
            self._labels.setsockopt(zmq.XPUB_NODROP, 1)

    def _send_frame(self, message: Outgoing, data: bytes) -> None:
        """Send an annotated frame to those who have room for it."""
        if self._frames is None:
            return
        topic, header = message
        self._frames.send_multipart([topic, encode(header, self._settings.encoding), data], zmq.NOBLOCK)


def _now() -> Now:
    return Now(time.monotonic(), time.time_ns())


def _endpoint(socket: zmq.Socket[bytes] | None) -> str | None:
    if socket is None:
        return None
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    return endpoint.rstrip(b"\0").decode() if isinstance(endpoint, bytes) else None
