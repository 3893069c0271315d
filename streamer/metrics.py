"""Rolling statistics for heartbeats: how fast and how fresh a source is lately. Pure: the caller gives the time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence


class Rate:
    """Events per second over the last seconds.

    Args:
        window_s: how far back to look.
        limit: how many events to remember at most; above that the window becomes shorter.
    """

    def __init__(self, window_s: float = 5.0, limit: int = 2048) -> None:
        self._window_s = window_s
        self._times_s: deque[float] = deque(maxlen=limit)

    def add(self, now_s: float) -> None:
        """An event happened at `now_s`, on a clock that never goes back."""
        self._times_s.append(now_s)

    def per_second(self, now_s: float) -> float:
        """Intervals between events per second up to `now_s`: falls towards 0 when events stop coming."""
        while self._times_s and self._times_s[0] < now_s - self._window_s:
            self._times_s.popleft()
        if len(self._times_s) < 2 or now_s <= self._times_s[0]:
            return 0.0
        return (len(self._times_s) - 1) / (now_s - self._times_s[0])


class Percentiles:
    """Percentiles of the values of the last seconds.

    Args:
        window_s: how far back to look.
        limit: how many values to remember at most; above that the window becomes shorter.
    """

    def __init__(self, window_s: float = 10.0, limit: int = 1024) -> None:
        self._window_s = window_s
        self._values: deque[tuple[float, float]] = deque(maxlen=limit)

    def add(self, now_s: float, value: float) -> None:
        """`value` was seen at `now_s`, on a clock that never goes back."""
        self._values.append((now_s, value))

    def at(self, now_s: float, percents: Sequence[float]) -> list[float] | None:
        """The nearest-rank percentiles of the window up to `now_s`, each the value of a sample; None without samples.

        Args:
            now_s: the present.
            percents: 0..100 each.
        """
        while self._values and self._values[0][0] < now_s - self._window_s:
            self._values.popleft()
        if not self._values:
            return None
        ordered = sorted(value for _, value in self._values)
        return [ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] for percent in percents]
