"""The one pattern by which threads run here: a body, the channels it reads and writes, and an end that all can see.

However the body ends, its outputs are closed (with its error, if it died) and its inputs are cancelled, so the threads
around it end too instead of waiting for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from streamer.channel import Channel
from streamer.errors import ChannelClosed


class Cancellable(Protocol):
    """Something a receiver can give up: a channel or an inbox."""

    def cancel(self) -> None:
        """Give up receiving."""


class Worker:
    """A named thread that runs `body` once.

    Args:
        name: the thread's name, for errors and stack dumps.
        body: the work; it returns when its input ends.
        inputs: what it reads; cancelled when it ends.
        outputs: what it writes; closed when it ends, with its error if it died.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[], None],
        inputs: Sequence[Cancellable] = (),
        outputs: Sequence[Channel[Any]] = (),
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        """Why the body died; None while it runs and after a good end."""
        self._body = body
        self._inputs = inputs
        self._outputs = outputs
        # A daemon, so that a library call that cannot be interrupted does not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False if it has not come within `timeout_s`."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the body still runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._body()
        except ChannelClosed:
            pass  # the receiver went away and says itself why
        except BaseException as error:
            self.error = error
        finally:
            for channel in self._outputs:
                channel.close(self.error)
            for source in self._inputs:
                source.cancel()
