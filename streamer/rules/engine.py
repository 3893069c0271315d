"""`RuleEngine`: sightings of all sources in, firings out. Pure: its only clocks are those of the sightings."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from config.rules import RuleSettings
from streamer.rules.clock import StreamClock, awake
from streamer.rules.conditions import Due, condition_for, exact
from streamer.rules.firing import Firing
from streamer.rules.sighting import Sighting


class RuleEngine:
    """Every rule on every source, each with its own memory."""

    def __init__(self, rules: Sequence[RuleSettings]) -> None:
        self._rules = rules
        self._sources: dict[str, _SourceRules] = {}

    def step(self, sighting: Sighting) -> list[Firing]:
        """What fires at the next frame of a source, in the order of the rules; frames come in order of time."""
        source = self._sources.get(sighting.source)
        if source is None:
            source = self._sources[sighting.source] = _SourceRules(self._rules, sighting.source)
        return source.step(sighting)


class _SourceRules:
    """The rules of one source."""

    def __init__(self, rules: Sequence[RuleSettings], source: str) -> None:
        self._clock = StreamClock()
        self._rules = [_SourceRule(rule) for rule in rules if rule.sources is None or source in rule.sources]

    def step(self, sighting: Sighting) -> list[Firing]:
        now = self._clock.at(sighting)
        firings = [rule.step(sighting, now) for rule in self._rules]
        return [firing for firing in firings if firing is not None]


class _SourceRule:
    """One rule on one source: its condition, its hours, how often it has fired, and when last."""

    def __init__(self, settings: RuleSettings) -> None:
        self._settings = settings
        self._condition = condition_for(settings)
        self._cool_down_s = exact(settings.cool_down_s)
        self._epoch: int | None = None
        self._last: Fraction | None = None
        self._count = 0

    def step(self, sighting: Sighting, now: Fraction) -> Firing | None:
        """The firing at this frame, if there is one."""
        due = self._due(sighting, now)
        # What lasts is still due when the rule has cooled down; a change has passed by then.
        if due is None or (self._last is not None and now - self._last < self._cool_down_s):
            return None
        self._condition.fired()
        self._last = now
        number, self._count = self._count, self._count + 1
        group = self._settings.when.group
        return Firing(self._settings.name, number, sighting, due, None if group is None else group.name)

    def _due(self, sighting: Sighting, now: Fraction) -> Due | None:
        if sighting.epoch != self._epoch:
            # Nobody knows what the camera saw in between.
            self._epoch = sighting.epoch
            self._condition.restart()
        active = self._settings.active
        if active is not None and not awake(active, sighting.t_capture_ns):
            self._condition.rest(sighting)
            return None
        return self._condition.step(sighting, now)
