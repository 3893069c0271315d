"""Time as rules count it: seconds of the stream that go on over epochs, and hours of the wall clock. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction

from config.rules import DAYS, ActiveSettings, Hours
from streamer.rules.sighting import Sighting

_NS = 1_000_000_000


class StreamClock:
    """Seconds of one source's stream since its first frame; they never run backwards.

    Within an epoch they are the stream's own (pts, exact). From one epoch to the next they go on by the time between
    the captures, where that says something: a recording's frames are captured when they are decoded, so there they go
    on at once.
    """

    def __init__(self) -> None:
        self._last: Sighting | None = None
        self._start = Fraction(0)  # when the epoch began
        self._start_pts = 0
        self._now = Fraction(0)

    def at(self, sighting: Sighting) -> Fraction:
        """The time of the next sighting, in seconds."""
        last, self._last = self._last, sighting
        if last is None or (last.epoch, last.time_base) != (sighting.epoch, sighting.time_base):
            self._start, self._start_pts = self._now + _gap(last, sighting), sighting.pts
        self._now = max(self._now, self._start + (sighting.pts - self._start_pts) * sighting.time_base)
        return self._now


def _gap(last: Sighting | None, sighting: Sighting) -> Fraction:
    if last is None or sighting.clock == "file":
        return Fraction(0)
    return max(Fraction(0), Fraction(sighting.t_capture_ns - last.t_capture_ns, _NS))


def awake(active: ActiveSettings, t_capture_ns: int) -> bool:
    """Whether a moment (Unix time in nanoseconds) lies in the hours of a rule."""
    moment = datetime.fromtimestamp(t_capture_ns // _NS, tz=active.zone)
    return any(_within(hours, moment) for hours in active.hours)


def _within(hours: Hours, moment: datetime) -> bool:
    clock = moment.time()
    today, yesterday = _day(moment), _day(moment - timedelta(days=1))
    if hours.end is None:
        return today in hours.days and clock >= hours.start
    if hours.start < hours.end:
        return today in hours.days and hours.start <= clock < hours.end
    return (today in hours.days and clock >= hours.start) or (yesterday in hours.days and clock < hours.end)


def _day(moment: datetime) -> str:
    return DAYS[moment.weekday()]
