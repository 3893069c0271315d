"""Work side by side, results in order: what several threads take in turn, they hand on in the same turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from streamer.errors import ChannelClosed

T = TypeVar("T")


class Turns:
    """Gives each thing that is taken a turn, and lets the turns come one after the other.

        job, turn = turns.take(inbox.get)
        result = work(job)  # at the same time as others
        with turn:  # when all that was taken before is through
            deliver(result)

    Who took a turn must enter it, or call `break_off`: the others would wait for it for ever.
    """

    def __init__(self) -> None:
        self._taking = threading.Lock()
        self._moved = threading.Condition()
        self._taken = 0
        self._passed = 0
        self._broken = False

    def take(self, get: Callable[[], T]) -> tuple[T, Turn]:
        """What `get` gives, and the turn after that of the call before; only one thread is inside `get` at a time."""
        with self._taking:
            thing = get()
            turn = Turn(self, self._taken)
            self._taken += 1
        return thing, turn

    def break_off(self) -> None:
        """No turn comes any more; who waits for one, or will, gets ChannelClosed."""
        with self._moved:
            self._broken = True
            self._moved.notify_all()

    def _wait_for(self, number: int) -> None:
        with self._moved:
            self._moved.wait_for(lambda: self._broken or self._passed == number)
            if self._broken:
                raise ChannelClosed("a worker beside this one died")

    def _pass_on(self) -> None:
        with self._moved:
            self._passed += 1
            self._moved.notify_all()


class Turn:
    """A place in the order, entered as a context. One that is left by an error breaks the turns off."""

    def __init__(self, turns: Turns, number: int) -> None:
        self._turns = turns
        self._number = number

    def __enter__(self) -> None:
        self._turns._wait_for(self._number)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._turns._pass_on()
        else:
            self._turns.break_off()
