"""Rules over recorded labels: what would have fired, and when. Nothing is sent and nothing is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.rules import RuleSettings
from streamer.errors import MessageError, UserError
from streamer.message_file import read_messages
from streamer.rules.engine import RuleEngine
from streamer.rules.firing import Firing
from streamer.rules.sighting import Sighting, sighting_in


@dataclass
class Trial:
    """What came of it.

    Attributes:
        labels: how many labels were looked at.
        firings: in the order of the file.
    """

    labels: int = 0
    firings: list[Firing] = field(default_factory=list)


def try_rules(rules: Sequence[RuleSettings], path: Path) -> Trial:
    """Run rules over a file of labels (see `streamer.message_file`).

    The clock is the stream's own time; hours are those of the recorded capture times.

    Raises:
        UserError: the file cannot be read, or a line is no message or cut off; says which.
    """
    trial, engine = Trial(), RuleEngine(rules)
    for sighting in _sightings(path):
        trial.labels += 1
        trial.firings += engine.step(sighting)
    if trial.labels == 0:
        raise UserError(f"{path} holds no labels; `scene-streamer annotate` and `watch --json` write some")
    return trial


def _sightings(path: Path) -> Iterator[Sighting]:
    for message in read_messages(path, whole=True):
        if message.body.get("type") == "label":
            try:
                yield sighting_in(message.body)
            except MessageError as error:
                raise UserError(f"{message.where}: {error}") from error
