"""Bounded queues between threads that can end, break, and be given up, so that no thread ever waits for a dead one.

A sender ends a channel with `close`, with its error if it died; the receiver gets what is queued first, then the end or
the error. A receiver that goes away calls `cancel`; a sender blocked on the full channel wakes with ChannelClosed.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Generic, Literal, TypeVar

from streamer.errors import ChannelClosed

T = TypeVar("T")
Policy = Literal["latest", "every"]


class EndOfChannel(Exception):
    """The sender closed the channel and everything queued has been taken."""


class Channel(Generic[T]):
    """A queue of at most `capacity` items from one thread to another.

    Args:
        capacity: how many items may wait.
        policy: when full, `every` makes the sender wait; `latest` drops the oldest item and counts it.
        wake: condition to share with other channels, for a receiver that serves several (`Inbox`).
    """

    def __init__(self, capacity: int, policy: Policy = "every", wake: threading.Condition | None = None) -> None:
        if capacity < 1:
            raise ValueError("a channel needs room for at least one item")
        self.capacity = capacity
        self.policy: Policy = policy
        self.dropped = 0
        """Items that `latest` has replaced."""
        self._items: deque[tuple[T, bool]] = deque()
        self._wake = wake or threading.Condition()
        self._closed = False
        self._cancelled = False
        self._error: BaseException | None = None

    def set_policy(self, policy: Policy, capacity: int) -> None:
        """Change what happens when the channel is full, and when that is."""
        with self._wake:
            self.policy, self.capacity = policy, capacity
            self._wake.notify_all()

    def put(self, item: T, *, droppable: bool = True) -> None:
        """Queue `item`; one that is not `droppable` is never replaced, and waits for room under either policy.

        Raises:
            ChannelClosed: the receiver is gone, or this end was closed.
        """
        with self._wake:
            self._make_room(droppable)
            if self._closed or self._cancelled:
                raise ChannelClosed("the receiver is gone")
            self._items.append((item, droppable))
            self._wake.notify_all()

    def _make_room(self, droppable: bool) -> None:
        while len(self._items) >= self.capacity and not (self._closed or self._cancelled):
            if self.policy == "latest" and droppable and self._drop_oldest():
                return
            self._wake.wait()

    def _drop_oldest(self) -> bool:
        for index, (_, droppable) in enumerate(self._items):
            if droppable:
                del self._items[index]
                self.dropped += 1
                return True
        return False

    def get(self, timeout_s: float | None = None) -> T:
        """Take the oldest item, waiting up to `timeout_s` for one.

        Raises:
            TimeoutError: nothing came in time.
            EndOfChannel: the sender has finished.
            BaseException: the error with which the sender died.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._wake:
            while not self.ready():
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    raise TimeoutError
                self._wake.wait(remaining)
            return self.take()

    def ready(self) -> bool:
        """Whether `take` has something to give: an item, the end or the error. Call with the condition held."""
        return bool(self._items) or self._closed or self._cancelled

    def take(self) -> T:
        """The oldest item, without waiting; raises as `get` does. Call with the condition held."""
        if self._items:
            item, _ = self._items.popleft()
            self._wake.notify_all()
            return item
        if self._error is not None:
            raise self._error
        raise EndOfChannel

    def close(self, error: BaseException | None = None) -> None:
        """The sender has finished, or died of `error`. Queued items stay; the first call counts."""
        with self._wake:
            if not self._closed:
                self._closed, self._error = True, error
            self._wake.notify_all()

    def cancel(self) -> None:
        """The receiver gives up: queued items are forgotten, a waiting sender wakes with ChannelClosed."""
        with self._wake:
            self._cancelled = True
            self._items.clear()
            self._wake.notify_all()

    @property
    def closed(self) -> bool:
        """Whether the sender has finished; what it queued may still be there."""
        return self._closed

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        """All items up to the end; raises the error with which the sender died."""
        while True:
            try:
                yield self.get()
            except EndOfChannel:
                return


class Inbox(Generic[T]):
    """Several channels (lanes) into one receiver, served in turn so that no busy sender starves another."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._lanes: deque[Channel[T]] = deque()

    def lane(self, capacity: int = 1, policy: Policy = "every") -> Channel[T]:
        """A new channel into this inbox."""
        channel: Channel[T] = Channel(capacity, policy, self._wake)
        with self._wake:
            self._lanes.append(channel)
        return channel

    def __iter__(self) -> Iterator[T]:
        """Items of all lanes until every lane has ended.

        Raises:
            BaseException: the error with which a sender died, once its queued items are taken.
        """
        while True:
            try:
                yield self.get()
            except EndOfChannel:
                return

    def get(self, timeout_s: float | None = None) -> T:
        """The next item of any lane, waiting up to `timeout_s` for one.

        Raises:
            TimeoutError: nothing came in time.
            EndOfChannel: every lane has ended.
            BaseException: the error with which a sender died, once its queued items are taken.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._wake:
            while self._lanes:
                channel = next((lane for lane in self._lanes if lane.ready()), None)
                if channel is None:
                    remaining = None if deadline is None else deadline - time.monotonic()
                    if remaining is not None and remaining <= 0:
                        raise TimeoutError
                    self._wake.wait(remaining)
                    continue
                self._lanes.remove(channel)
                try:
                    item = channel.take()
                except EndOfChannel:
                    continue  # this lane is done; it stays out
                self._lanes.append(channel)  # to the back: the others come first now
                return item
            raise EndOfChannel

    def cancel(self) -> None:
        """The receiver gives up: every lane is cancelled."""
        with self._wake:
            for lane in self._lanes:
                lane.cancel()
