"""A pts for every decoded frame, also for the few that their stream gives none."""

from __future__ import annotations

from fractions import Fraction


class FrameTimes:
    """The times of one stream from its opening on.

    A frame's own pts is always taken as it is. Where there is none, a recording goes on by the last frame's duration,
    and a live stream by the time that passed between the arrivals. RTSP streams give their first picture no time but
    the second one: that first picture is passed over, for a made-up time could collide with the real ones.

    Args:
        time_base: seconds per unit of pts.
        start: pts of a recording's first frame if that has none.
        frame_rate: average frames per second, if known; stands in for missing durations.
        live: arrivals count.
    """

    def __init__(self, time_base: Fraction, start: int, frame_rate: Fraction | None, *, live: bool) -> None:
        self._time_base = time_base
        self._next = start
        self._step = max(1, round(1 / (frame_rate * time_base))) if frame_rate else 1
        self._live = live
        self._waiting = live
        self._last: tuple[int, int] | None = None

    def pts(self, own: int | None, duration: int, arrival_ns: int) -> int | None:
        """The pts of the next frame, or None if it is to be passed over.

        Args:
            own: what the stream says.
            duration: of the frame, in units of pts; 0 if unknown.
            arrival_ns: when it arrived, on any clock that only rises.
        """
        if own is None and self._waiting:
            self._waiting = False
            return None
        self._waiting = False
        pts = self._derived(arrival_ns) if own is None else own
        self._last = (pts, arrival_ns)
        self._next = pts + (duration or self._step)
        return pts

    def _derived(self, arrival_ns: int) -> int:
        if not self._live or self._last is None:
            return self._next
        last_pts, last_ns = self._last
        return last_pts + max(1, round(Fraction(arrival_ns - last_ns, 10**9) / self._time_base))
