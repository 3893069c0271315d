"""Who subscribes to what: kept by the publisher's thread from what an XPUB socket reports, read by any thread."""

from __future__ import annotations

from collections.abc import Sequence

import zmq

_SUBSCRIBE, _UNSUBSCRIBE = 1, 0


class Subscriptions:
    """Which of a socket's topics have a subscriber.

    Only prefixes that cover one of the topics are kept, so a peer that subscribes to a million others costs nothing.

    Args:
        topics: the topics that will be published.
    """

    _AT_ONCE = 1000  # reports taken in one go: a peer that floods the socket must not hold up the labels

    def __init__(self, topics: Sequence[bytes]) -> None:
        self.covered: frozenset[bytes] = frozenset()
        """The topics with a subscriber; replaced as a whole, so any thread may read it."""
        self._topics = tuple(topics)
        self._prefixes: set[bytes] = set()

    def drain(self, socket: zmq.Socket[bytes] | None) -> None:
        """Take the reports that wait in `socket`, an XPUB; None has no subscribers."""
        if socket is None:
            return
        for _ in range(self._AT_ONCE):
            try:
                report = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.report(report)

    def report(self, report: bytes) -> None:
        """A message as XPUB gives it: 1 or 0, then the prefix that is now wanted or no longer wanted by anyone."""
        if not report or report[0] not in (_SUBSCRIBE, _UNSUBSCRIBE):
            return  # peers may send anything; only subscriptions mean something
        prefix = report[1:]
        if not any(topic.startswith(prefix) for topic in self._topics):
            return
        if report[0] == _SUBSCRIBE:
            self._prefixes.add(prefix)
        else:
            self._prefixes.discard(prefix)
        self.covered = frozenset(t for t in self._topics if t.startswith(tuple(self._prefixes)))
