"""`Firing`: a rule has fired; what the bus, webhooks and commands are told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamer.message import Body, Place, event_body
from streamer.rules.conditions import Due
from streamer.rules.sighting import Sighting


@dataclass(frozen=True, slots=True)
class Firing:
    """A rule has fired.

    Attributes:
        rule: its name.
        number: 0, 1, 2... over the firings of this rule on this source.
        sighting: the frame at which it fired.
        due: since when its condition has held, or what was before.
        group: the group of scenes that the rule is about, None for other rules.
    """

    rule: str
    number: int
    sighting: Sighting
    due: Due
    group: str | None = None

    @property
    def source(self) -> str:
        """Name of the source."""
        return self.sighting.source

    def details(self) -> dict[str, Any]:
        """What an event of type `rule` has besides the head; None where it does not apply."""
        sighting, due = self.sighting, self.due
        return {
            "rule": self.rule,
            "frame_id": sighting.frame_id,
            "scene": sighting.scene,
            "p": sighting.p,
            "unknown": sighting.unknown,
            "since_pts": due.since_pts,
            "held_s": due.held_s,
            "from": due.before,
            "to": None if due.before is None else sighting.scene,
            "group": self.group,
            "group_p": None if self.group is None else sighting.groups.get(self.group),
        }

    def body(self, run: str, t_publish_ns: int) -> Body:
        """The event as webhooks and commands get it: as on the bus, but `seq` counts the firings of the rule."""
        sighting = self.sighting
        place = Place(sighting.source, run, sighting.epoch, sighting.pts, sighting.time_base)
        return event_body("rule", place, seq=self.number, t_publish_ns=t_publish_ns, details=self.details())

    def __str__(self) -> str:
        sighting, due = self.sighting, self.due
        if due.before is not None:
            return f"{self.rule} ({due.before} -> {sighting.scene})"
        what = "unknown" if sighting.unknown else self.group or sighting.scene
        return f"{self.rule} ({what} for {due.held_s:.1f} s)" if due.held_s else f"{self.rule} ({what})"
