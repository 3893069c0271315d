"""SMPTE timecode: hours, minutes, seconds and frames at the rates that editing knows (SMPTE ST 12-1). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

_DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Timecode:
    """A way to count frames.

    Attributes:
        rate: true frames per second.
        drop: numbers are left out so that the count keeps up with the clock at 30000/1001 and 60000/1001: the first
            two (or four) of each minute but every tenth. No frame is lost, only its number.
    """

    rate: Fraction
    drop: bool = False

    @property
    def base(self) -> int:
        """Numbers of frames in a second: 30 at 29.97."""
        return -(-self.rate.numerator // self.rate.denominator)

    def frame(self, seconds: Fraction) -> int:
        """The frame that begins nearest to a time."""
        return round(seconds * self.rate)

    def text(self, frame: int) -> str:
        """ "hh:mm:ss:ff" of a frame, "hh:mm:ss;ff" where numbers are dropped; it starts again after a day."""
        number = frame + self._dropped(frame) if self.drop else frame
        seconds, frames = divmod(number, self.base)
        seconds %= _DAY_S
        mark = ";" if self.drop else ":"
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{mark}{frames:02d}"

    def _dropped(self, frame: int) -> int:
        """How many numbers were left out before a frame."""
        each = self.base // 15
        a_minute, ten_minutes = 60 * self.base - each, 600 * self.base - 9 * each
        tens, rest = divmod(frame, ten_minutes)
        # The first minute of ten keeps all its numbers.
        minutes = 0 if rest < 60 * self.base else 1 + (rest - 60 * self.base) // a_minute
        return each * (9 * tens + minutes)


_RATES = tuple(
    Timecode(Fraction(*rate), drop)
    for rate, drop in (
        ((24000, 1001), False),
        ((24, 1), False),
        ((25, 1), False),
        ((30000, 1001), True),
        ((30, 1), False),
        ((48, 1), False),
        ((50, 1), False),
        ((60000, 1001), True),
        ((60, 1), False),
    )
)
_OTHER = Timecode(Fraction(25))
_NEAR = Fraction(1, 5000)  # less than the 1/1000 between 30 and 30000/1001


def timecode_for(rate: Fraction | None) -> Timecode:
    """The timecode of a frame rate; 25 frames a second where editing knows no such rate, or it varies."""
    if rate is None:
        return _OTHER
    nearest = min(_RATES, key=lambda timecode: abs(timecode.rate - rate))
    return nearest if abs(nearest.rate - rate) <= _NEAR * rate else _OTHER
