"""`LiveRules`: the rules of a run, between the pipeline, the bus and the actions."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from config.rules import RuleSettings
from models.package import ModelPackage
from streamer.channel import Channel
from streamer.events import StreamItem
from streamer.rules.engine import RuleEngine
from streamer.rules.firing import Firing
from streamer.rules.names import check_model, check_sources
from streamer.rules.sighting import sighting_of
from streamer.state import SceneState
from streamer.worker import Worker

if TYPE_CHECKING:
    from streamer.rules.actions.runner import ActionRunner

_log = logging.getLogger(__name__)


class LiveRules:
    """Looks at every state of a run; what fires goes to the bus, and to the actions' thread.

    Args:
        rules: may be none.
        run: UUID of the run.
        sources: names of its sources.
        to_bus: takes the firings whose rule has the action `event`.

    Raises:
        ConfigError: a source that is not part of the run, a variable that is not set, a program that does not exist.
    """

    def __init__(
        self, rules: Sequence[RuleSettings], run: str, sources: Sequence[str], to_bus: Callable[[Firing], None]
    ) -> None:
        check_sources(rules, sources)
        self._rules = rules
        self._run = run
        self._to_bus = to_bus
        self._engine = RuleEngine(rules)
        self._on_bus = {rule.name for rule in rules if any(action.event is not None for action in rule.actions)}
        self._actions = action_runner(rules)
        self.outputs: list[Channel[Any]] = []
        """What `take` fills; to be closed when nothing more comes."""
        self.workers: list[Worker] = []
        """The actions' thread, if there is anything for it to do; to be started."""
        if self._actions is not None:
            self.outputs.append(self._actions.queue)
            self.workers.append(Worker("actions", self._actions.run, inputs=[self._actions.queue]))

    def check(self, package: ModelPackage) -> None:
        """Make sure that the model can name what the rules wait for; UnknownLabelError if not."""
        check_model(self._rules, package)

    def take(self, item: StreamItem) -> None:
        """Take what the pipeline delivers, in order per source. Waits for nothing but the bus."""
        if not self._rules or not isinstance(item, SceneState):
            return
        for firing in self._engine.step(sighting_of(item)):
            _log.info("%s: rule %s", firing.source, firing)
            if firing.rule in self._on_bus:
                self._to_bus(firing)
            if self._actions is not None:
                self._actions.do(firing.rule, firing.body(self._run, time.time_ns()), firing.sighting.seconds)


def action_runner(rules: Sequence[RuleSettings]) -> ActionRunner | None:
    """What does the webhooks and commands of the rules, with this process's environment; None if there are none.

    Raises:
        ConfigError: a variable that is not set, a program that does not exist; names the rule.
    """
    if not any(action.event is None for rule in rules for action in rule.actions):
        return None
    # Here, as a run without webhooks and commands needs no event loop, and starts sooner.
    from streamer.rules.actions.runner import ActionRunner

    return ActionRunner(rules, os.environ)
