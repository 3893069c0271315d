"""Sightings of a simulated camera, and rules to look at them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from config.rules import RuleSettings
from streamer.rules.engine import RuleEngine
from streamer.rules.sighting import Sighting

TIME_BASE = Fraction(1, 10)
NOON_NS = 1_767_268_800 * 10**9  # 2026-01-01 12:00 UTC, a Thursday


def rule(when: dict[str, Any], **keys: Any) -> RuleSettings:
    """A rule as a user writes it."""
    return RuleSettings.model_validate({"name": "r", "when": when, **keys})


def sighting(
    pts: int,
    scene: str = "kitchen",
    *,
    unknown: bool = False,
    groups: dict[str, float] | None = None,
    epoch: int = 0,
    source: str = "cam1",
    t_capture_ns: int | None = None,
    clock: str = "arrival",
    time_base: Fraction = TIME_BASE,
) -> Sighting:
    """A frame at `pts` tenths of a second; captured then, unless said otherwise."""
    t_ns = NOON_NS + int(pts * time_base * 10**9) if t_capture_ns is None else t_capture_ns
    return Sighting(source, epoch, pts, time_base, pts, t_ns, clock, scene, 0.9, unknown, groups or {})


def camera(story: str, *, every: int = 1, **keys: Any) -> list[Sighting]:
    """A frame for every letter, 0.1 s apart: k kitchen, s street, f forest, ? unknown (kitchen before that)."""
    scenes = {"k": "kitchen", "s": "street", "f": "forest", "?": "kitchen"}
    return [sighting(i * every, scenes[c], unknown=c == "?", **keys) for i, c in enumerate(story)]


def fires(settings: RuleSettings, sightings: Iterable[Sighting]) -> list[int]:
    """pts of the frames at which the rule fires."""
    engine = RuleEngine([settings])
    return [firing.sighting.pts for one in sightings for firing in engine.step(one)]
