"""A subscriber's end of the bus: the socket with its limits, what to subscribe to, and reading what comes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq

from streamer.errors import AddressRefused, ConfigError, MessageError
from streamer.frame import SOURCE_NAME
from streamer.message import Body, check_head, decode, parse_topic, topic

KINDS = ("E", "F", "H", "L", "S")
"""Kinds of messages: events, frames, heartbeats, labels, snapshots."""


class Link:
    """A connected SUB socket with its limits.

    Args:
        address: where to connect.
        prefixes: what to subscribe to.
        backlog: how many messages may wait.
        largest: of a message part, in bytes; a peer that sends more is disconnected.
        context: to share; None makes one.
    """

    def __init__(
        self,
        address: str,
        prefixes: Sequence[bytes],
        backlog: int,
        largest: int,
        context: zmq.Context[zmq.Socket[bytes]] | None,
    ) -> None:
        self._context = context or zmq.Context()
        self._own_context = context is None
        self._socket = self._context.socket(zmq.SUB)
        options: dict[int, int] = {
            zmq.RCVHWM: backlog,
            zmq.LINGER: 0,
            zmq.MAXMSGSIZE: largest,
            # A publisher whose machine went away is noticed, and dialled again.
            zmq.HEARTBEAT_IVL: 2_000,
            zmq.HEARTBEAT_TIMEOUT: 6_000,
            zmq.IPV6: int("[" in address),
        }
        for option, value in options.items():
            self._socket.setsockopt(option, value)
        for prefix in prefixes:
            self._socket.setsockopt(zmq.SUBSCRIBE, prefix)
        try:
            self._socket.connect(address)
        except (zmq.ZMQError, UnicodeEncodeError) as error:
            self.close()
            remedy = "an address looks like tcp://127.0.0.1:5555"
            raise AddressRefused(f"cannot connect to {address!r}; {remedy}") from error

    def receive(self, deadline_s: float | None) -> list[bytes] | None:
        """The parts of the next message; None once the monotonic clock passes `deadline_s`."""
        while True:
            wait_ms = None if deadline_s is None else max(0, round((deadline_s - time.monotonic()) * 1000))
            if not self._socket.poll(wait_ms):
                return None
            try:
                return self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                continue

    def close(self) -> None:
        """Hang up. May be repeated."""
        self._socket.close()
        if self._own_context:
            self._context.term()


def prefixes(kinds: Sequence[str], source: str | None) -> list[bytes]:
    """What to subscribe to for these kinds of messages of a source, or of all.

    Raises:
        ConfigError: a kind is unknown, or `source` can be no name of a source.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ConfigError(f"unknown kinds of messages {unknown}; known: {', '.join(KINDS)}")
    if source is None:
        return [f"{kind}/".encode() for kind in kinds]
    if not SOURCE_NAME.fullmatch(source):
        raise ConfigError(f"{source!r} is no name of a source: letters, digits, dot, dash and underscore, at most 64")
    return [topic(kind, source) for kind in kinds]


def parse(parts: list[bytes]) -> tuple[str, str, Body]:
    """Kind, source and body (of a frame: header) of a message.

    Raises:
        MessageError: it is none of protocol version 1.
    """
    if len(parts) not in (2, 3):
        raise MessageError(f"message of {len(parts)} parts")
    kind, source = parse_topic(parts[0])
    body = decode(parts[1])
    check_head(body)
    if kind != "S" and body["source"] != source:
        raise MessageError(f"message of {body['source'][:64]!r} on the topic of {source!r}")
    return kind, source, body
