"""The conditions of rules, on one source each: a state machine takes sightings in order and says when. Pure.

A condition that lasts (`Stay`) is due once it has held for `for_s`, and once only: the next time after it was broken
for longer than `debounce_s`. A change (`Change`) is due at the frame where another scene is believed than before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from config.rules import ANY, ChangeSettings, RuleSettings
from config.rules import Condition as ConditionSettings
from streamer.rules.sighting import Sighting


@dataclass(frozen=True, slots=True)
class Due:
    """A condition is met.

    Attributes:
        since_pts: pts of the frame from which on it has held; None for a change.
        held_s: for how long, in seconds of the stream; None for a change.
        before: the scene that was believed before; None for what lasts.
    """

    since_pts: int | None = None
    held_s: float | None = None
    before: str | None = None


class Condition(ABC):
    """One rule's condition on one source, within one epoch."""

    @abstractmethod
    def step(self, sighting: Sighting, now: Fraction) -> Due | None:
        """Take the next sighting; what is due now, or None.

        A `Stay` is due again and again until `fired` is called, a `Change` for one sighting.

        Args:
            sighting: in order of time.
            now: its time in seconds of the stream.
        """

    def fired(self) -> None:  # noqa: B027 - a change has nothing to remember
        """What was due has been acted on."""

    @abstractmethod
    def rest(self, sighting: Sighting) -> None:
        """Take a sighting at which the rule sleeps."""

    @abstractmethod
    def restart(self) -> None:
        """Forget everything: a new epoch begins."""


class Stay(Condition):
    """Something that lasts.

    A frame counts until the next one comes. So a condition is broken from the first frame without it to the next with
    it; if that is no longer than `debounce_s`, it counts as having held all the time. It is only ever due at a frame
    with it.
    """

    def __init__(self, holds: Callable[[Sighting], bool], for_s: float, debounce_s: float) -> None:
        self._holds = holds
        self._for_s = exact(for_s)
        self._debounce_s = exact(debounce_s)
        self.restart()

    def restart(self) -> None:
        """See `Condition.restart`."""
        self._since: tuple[Fraction, int] | None = None  # time and pts of the first frame with it
        self._broken: Fraction | None = None  # time of the first frame without it, while it is broken
        self._fired = False

    def step(self, sighting: Sighting, now: Fraction) -> Due | None:
        """See `Condition.step`."""
        if not self._holds(sighting):
            self._break(now)
            return None
        if self._broken is not None and now - self._broken > self._debounce_s:
            self.restart()
        self._broken = None
        if self._since is None:
            self._since = (now, sighting.pts)
        start, since_pts = self._since
        if self._fired or now - start < self._for_s:
            return None
        return Due(since_pts=since_pts, held_s=float(now - start))

    def fired(self) -> None:
        """See `Condition.fired`."""
        self._fired = True

    def rest(self, sighting: Sighting) -> None:  # noqa: ARG002 - time asleep counts for nothing
        """See `Condition.rest`."""
        self.restart()

    def _break(self, now: Fraction) -> None:
        if self._since is None:
            return
        if self._broken is None:
            self._broken = now
        if now - self._broken >= self._debounce_s:
            self.restart()


class Change(Condition):
    """The believed scene is another than before; frames in which none is believed (unknown) are passed over."""

    def __init__(self, settings: ChangeSettings) -> None:
        self._from, self._to = settings.from_, settings.to
        self.restart()

    def restart(self) -> None:
        """See `Condition.restart`."""
        self._scene: str | None = None

    def step(self, sighting: Sighting, now: Fraction) -> Due | None:  # noqa: ARG002 - a moment takes no time
        """See `Condition.step`."""
        if sighting.unknown:
            return None
        before, self._scene = self._scene, sighting.scene
        if before is None or before == sighting.scene:
            return None
        is_meant = _among(before, self._from) and _among(sighting.scene, self._to)
        return Due(before=before) if is_meant else None

    def rest(self, sighting: Sighting) -> None:
        """See `Condition.rest`: the scene is kept in mind, so that waking up is no change."""
        self.step(sighting, Fraction(0))


def condition_for(rule: RuleSettings) -> Condition:
    """A new state machine for a rule."""
    when = rule.when
    if when.change is not None:
        return Change(when.change)
    return Stay(_holds(when), when.for_s, rule.debounce_s)


def exact(seconds: float) -> Fraction:
    """The number as it was written: 0.1 is a tenth, so that five frames of 1/50 s are not just short of it."""
    return Fraction(str(seconds))


def _holds(when: ConditionSettings) -> Callable[[Sighting], bool]:
    """Whether a condition that lasts holds at a sighting."""
    if when.scene is not None:
        scenes = frozenset(when.scene)
        return lambda sighting: not sighting.unknown and sighting.scene in scenes
    if when.group is not None:
        group, at_least = when.group.name, when.group.at_least
        return lambda sighting: sighting.groups.get(group, 0.0) >= at_least
    return lambda sighting: sighting.unknown


def _among(scene: str, names: tuple[str, ...]) -> bool:
    return ANY in names or scene in names
