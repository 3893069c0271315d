"""Scenes and times as people read them; the same words in every format."""

from __future__ import annotations

from fractions import Fraction

from streamer.overlay import scene_title


def title(scene: str | None) -> str:
    """ "Living room" for "living_room", "Unknown" where no scene was believed."""
    return "Unknown" if scene is None else scene_title(scene)


def milliseconds(seconds: Fraction) -> int:
    """Seconds as whole milliseconds, the nearest."""
    return round(seconds * 1000)


def clock(ms: int) -> str:
    """ "hh:mm:ss.mmm" of milliseconds; more than 99 hours have as many digits as they need."""
    whole, rest = divmod(ms, 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{rest:03d}"


def short_clock(seconds: float) -> str:
    """ "m:ss", or "h:mm:ss" from an hour on; seconds are rounded down."""
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
