"""The actions' thread: it does what rules ask for, several at a time, and never makes the pipeline wait.

Inside is an event loop, so that one thread serves them all and can end any of them when the run ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from config.rules import RuleSettings
from streamer.channel import Channel, EndOfChannel
from streamer.encoding import Body
from streamer.errors import ActionError, ConfigError
from streamer.rules.actions.base import Action, Occasion
from streamer.rules.actions.command import Command
from streamer.rules.actions.webhook import Webhook, new_client

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)

LINGER_S = 1.0
"""How long queued and running actions may go on once the run has ended."""

_QUEUED = 64
_MOST_RUNNING = 8
_POLL_S = 0.02
_WARN_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class _Job:
    rule: str
    action: Action
    occasion: Occasion


class ActionRunner:
    """Webhooks and commands of all rules.

    `do` may be called from any one thread and never waits: where too many actions are under way, the oldest of those
    that have not begun is dropped, counted and told of. `run` is the body of a worker.

    Args:
        rules: whose actions.
        environment: the variables that webhooks may name and commands get.

    Raises:
        ConfigError: a variable that is not set, a program that does not exist; names the rule.
    """

    def __init__(self, rules: Sequence[RuleSettings], environment: Mapping[str, str]) -> None:
        self.queue: Channel[_Job] = Channel(_QUEUED, "latest")
        """What waits to be done; close it to end the runner."""
        self._client: httpx.AsyncClient | None = None
        self._actions = {rule.name: _actions(rule, environment, self._web_client) for rule in rules}
        self._running: set[asyncio.Task[None]] = set()
        self._told_dropped = 0
        self._tell_at_s = 0.0

    def do(self, rule: str, body: Body, seconds: float) -> None:
        """Queue the actions of a rule that has fired.

        Args:
            rule: its name.
            body: the event.
            seconds: the presentation time of its frame.

        Raises:
            ChannelClosed: the runner has ended.
        """
        for action in self._actions[rule]:
            self.queue.put(_Job(rule, action, Occasion(body, seconds)))

    def run(self) -> None:
        """Do what is queued until the queue is closed; then no longer than `LINGER_S`, and a little."""
        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        if any(isinstance(action, Webhook) for actions in self._actions.values() for action in actions):
            self._web_client()  # takes a while, which the first firing need not wait for
        try:
            end_s: float | None = None
            while end_s is None or time.monotonic() < end_s:
                has_more = self._start_some()
                self._tell_drops()
                if end_s is None and self.queue.closed:
                    end_s = time.monotonic() + LINGER_S
                if end_s is not None and not has_more and not self._running:
                    return
                await asyncio.sleep(_POLL_S)
            self._tell_of_the_rest()
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            if self._client is not None:
                await self._client.aclose()

    def _start_some(self) -> bool:
        """Start what there is room for; whether more is queued."""
        while len(self._running) < _MOST_RUNNING:
            try:
                job = self.queue.get(0)
            except (TimeoutError, EndOfChannel):
                return False
            task = asyncio.create_task(_perform(job))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return len(self.queue) > 0

    def _tell_drops(self) -> None:
        dropped = self.queue.dropped - self._told_dropped
        if dropped and time.monotonic() >= self._tell_at_s:
            self._told_dropped += dropped
            self._tell_at_s = time.monotonic() + _WARN_EVERY_S
            _log.warning("dropped %d actions of rules: too many at a time (a cool_down_s makes them fewer)", dropped)

    def _tell_of_the_rest(self) -> None:
        left = len(self.queue) + len(self._running)
        if left:
            _log.warning("gave up %d actions of rules at the end of the run", left)

    def _web_client(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = new_client()
        return self._client


async def _perform(job: _Job) -> None:
    try:
        await job.action.perform(job.occasion)
    except ActionError as error:
        _log.warning("rule %s, %s: %s", job.rule, job.action.title, error)
    else:
        _log.debug("rule %s, %s: done", job.rule, job.action.title)


def _actions(
    rule: RuleSettings, environment: Mapping[str, str], client: Callable[[], httpx.AsyncClient]
) -> list[Action]:
    actions: list[Action] = []
    try:
        for action in rule.actions:
            if action.webhook is not None:
                actions.append(Webhook(action.webhook, environment, client))
            if action.command is not None:
                actions.append(Command(action.command, environment))
    except ConfigError as error:
        raise ConfigError(f"rule {rule.name!r}: {error}") from None
    return actions


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose look-up of names leaves no thread that the interpreter would wait for at its end.

    The default asks in a pool whose threads are joined, and a look-up without an answer can take half a minute.
    """

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        """As in `asyncio`."""
        answer: asyncio.Future[Any] = self.create_future()

        def settle(result: Any, error: OSError | None) -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        def look_up() -> None:
            result, failure = None, None
            try:
                result = socket.getaddrinfo(host, port, **hints)
            except (OSError, ValueError) as error:  # ValueError: no name at all
                failure = OSError(str(error))
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self.call_soon_threadsafe(settle, result, failure)

        threading.Thread(target=look_up, name="look-up", daemon=True).start()
        return await answer
