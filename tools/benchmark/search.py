"""The largest number for which something holds that holds for all smaller ones. Pure."""

from __future__ import annotations

from collections.abc import Callable


def largest(holds: Callable[[int], bool], limit: int) -> int:
    """The largest number from 1 to `limit` for which `holds` says yes, 0 if there is none.

    Doubles until it fails, then halves the gap; no number is asked for twice.

    Args:
        holds: true up to some number and false above it; each call may take long.
        limit: where to stop.
    """
    good, trial = 0, 1
    while trial <= limit and holds(trial):
        good, trial = trial, 2 * trial
    bad = min(trial, limit + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        if holds(middle):
            good = middle
        else:
            bad = middle
    return good
