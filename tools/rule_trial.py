"""Rules over recorded labels: what would have fired, and when. Nothing is sent and nothing is run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.rules import RuleSettings
from streamer.errors import MessageError, UserError
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
    """Run rules over a file of labels: `annotate`'s `.labels.jsonl`, or what `watch --json` printed.

    The clock is the stream's own time; hours are those of the recorded capture times.

    Raises:
        UserError: the file cannot be read, or a line is no message; says which.
    """
    trial, engine = Trial(), RuleEngine(rules)
    for sighting in _sightings(path):
        trial.labels += 1
        trial.firings += engine.step(sighting)
    if trial.labels == 0:
        raise UserError(f"{path} holds no labels; `scene-streamer annotate` and `watch --json` write some")
    return trial


def _sightings(path: Path) -> Iterator[Sighting]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield from _sighting(line, f"{path}, line {number}")
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from error


def _sighting(line: bytes, where: str) -> list[Sighting]:
    """The label in a line, or nothing where it is a message of another kind."""
    try:
        body: Any = json.loads(line)
        if isinstance(body, dict) and "topic" in body and isinstance(body.get("body"), dict):
            body = body["body"]
        if not isinstance(body, dict):
            raise MessageError("not a message")
        return [sighting_in(body)] if body.get("type") == "label" else []
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON") from error
    except MessageError as error:
        raise UserError(f"{where}: {error}") from error
