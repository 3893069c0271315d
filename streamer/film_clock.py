"""Where on a film each frame of a stream belongs: at its own time, moved only where a file cannot hold that."""

from __future__ import annotations

from array import array
from fractions import Fraction


class FilmClock:
    """Places frames on a film.

    A stream that starts before zero is moved so that it starts at zero; where pts run backwards (a new epoch), the
    film goes on after its last frame.

    Attributes:
        pts: every place given so far, in the film's units (eight bytes a frame).
        shifts: per epoch, by how many seconds the film's times are later than the stream's.
    """

    def __init__(self) -> None:
        self.pts = array("q")
        self.shifts: list[Fraction] = []
        self._offset = 0
        self._epoch: int | None = None

    def place(self, pts: int, time_base: Fraction, epoch: int, film: Fraction) -> int:
        """The frame's time in units of `film` seconds; larger than the one before."""
        own = pts if time_base == film else round(pts * time_base / film)
        if epoch != self._epoch:
            self._begin(epoch, own, film)
        place = own + self._offset
        if self.pts:
            place = max(place, self.pts[-1] + 1)  # times that fell together when a coarser clock took over
        self.pts.append(place)
        return place

    def _begin(self, epoch: int, own: int, film: Fraction) -> None:
        if self.pts:
            step = self.pts[-1] - self.pts[-2] if len(self.pts) > 1 else 1
            self._offset = self.pts[-1] + step - own
        else:
            self._offset = max(0, -own)
        self.shifts.append(self._offset * film)
        self._epoch = epoch
