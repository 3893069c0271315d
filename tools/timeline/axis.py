"""Where the ticks of an axis of time stand. Pure."""

from __future__ import annotations

_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def tick_step(duration_s: float, most: int) -> float:
    """Seconds between two ticks: the smallest round step with which there are at most `most` of them."""
    return next((step for step in _STEPS_S if duration_s / step <= most), duration_s)
