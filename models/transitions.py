"""How a picture gives way to another: hard cuts, fades through black or white, and dissolves. Pure, cheap, causal.

Everything is seen in thumbnails (`models.cuts.thumbnail`). A dissolve is a mixture: each frame lies on the straight
line from the last frame of the former picture to the first of the next, moves along it, and has lost contrast on the
way. A camera that pans does neither, and an exposure that changes keeps the picture. A fade is a dissolve whose middle
is blank; it is told when the next picture appears.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from models.cuts import CutDetector, thumbnail

TransitionName = Literal["hard", "fade", "dissolve"]
TRANSITION_NAMES: Final[tuple[TransitionName, ...]] = get_args(TransitionName)
Small = NDArray[np.float32]

_SPACING_S: Final = 0.075  # between remembered frames: dissolves are slow
_LAGS_S: Final = (0.45, 0.9, 1.8, 3.6)  # lengths that are tried; a dissolve of any length is near one of them
_MEMORY_S: Final = 4.0
_QUARTERS: Final = (0.25, 0.5, 0.75)

# Of full scale, the mean difference of two pictures; most pictures differ by 0.15 to 0.3.
_LEAST_CHANGE: Final = 0.11
_FARTHEST: Final = 0.3  # from the line, in lengths of the line, mean of the quarters
_HALF_WAY: Final = (0.2, 0.8)  # where on the line the middle frame may be
_SAME_PICTURE: Final = 0.7  # correlation of thumbnails; higher, and only brightness or the view has changed a little
_LEAST_PALING: Final = 0.4  # of the contrast that a mixture loses
_EVEN: Final = 1e-5  # variance of a difference that has no picture in it
_NEAR_AN_END: Final = 0.12  # place * (1 - place) that is too little to see a loss of contrast
# How long a picture is at rest before a dissolve is over: seconds at least, and of the dissolve's length.
_SETTLED_S: Final = 0.2
_SETTLED: Final = 0.25
_BETTER: Final = 1.1  # times the change that a longer dissolve has, to be taken for the shorter one
_AT_REST: Final = 0.5  # of a dissolve's pace

# Of full scale: a blank frame's spread and brightness.
_BLANK_SPREAD: Final = 0.03
_BLACK, _WHITE = 0.08, 0.92


class Moment(NamedTuple):
    """Which frame: its number, its pts, and the same in seconds."""

    frame_id: int
    pts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Transition:
    """How one picture gave way to the next.

    Attributes:
        kind: hard, fade or dissolve.
        start: the last frame of the former picture; of a hard cut, the same as `end`.
        end: the first frame of the next picture: of a hard cut exactly, of a dissolve where it stands alone, of a
            fade where it begins to appear.
    """

    kind: TransitionName
    start: Moment
    end: Moment


class _Seen(NamedTuple):
    moment: Moment
    small: Small  # (N,) of full scale


class _Candidate(NamedTuple):
    """What may be a dissolve: the change of the picture from its first frame to its last."""

    change: float
    first: _Seen
    last: _Seen


class TransitionDetector:
    """Looks at every frame of one camera, in order.

    Args:
        threshold, ratio: of hard cuts, see `models.cuts.CutDetector`.
        gradual: whether fades and dissolves are looked for.
    """

    def __init__(self, threshold: float, ratio: float, *, gradual: bool = True) -> None:
        self._hard = CutDetector(threshold, ratio)
        self._gradual = gradual
        self.reset()

    def reset(self) -> None:
        """Forget what was seen (a new epoch begins)."""
        self._hard.reset()
        self._forget()

    def update(self, picture: NDArray[np.uint8], moment: Moment) -> Transition | None:
        """The transition that is complete with this frame (H×W×3 uint8 RGB), if any."""
        return self.update_small(thumbnail(picture), moment)

    def update_small(self, small: NDArray[np.int16], moment: Moment) -> Transition | None:
        """The same for a frame whose thumbnail is at hand."""
        is_cut = self._hard.update_small(small)
        if is_cut:
            self._forget()
        seen = _Seen(moment, small.ravel().astype(np.float32) / np.float32(255))
        found = self._gradually(seen) if self._gradual else None
        return Transition("hard", moment, moment) if is_cut else found

    def _forget(self) -> None:
        self._past: list[_Seen] = []
        self._candidate: _Candidate | None = None
        self._blank: _Seen | None = None  # the first frame of a blank that has not ended
        self._before_blank: list[_Seen] = []

    def _gradually(self, seen: _Seen) -> Transition | None:
        faded = self._fade(seen)
        if faded is not None or self._blank is not None:
            self._past = []
            self._candidate = None
            return faded
        now = seen.moment.seconds
        if self._past and now - self._past[-1].moment.seconds < _SPACING_S:
            return None
        self._past.append(seen)
        self._drop_before(now - _MEMORY_S)
        return self._dissolve(seen)

    def _fade(self, seen: _Seen) -> Transition | None:
        if _is_blank(seen.small):
            if self._blank is None:
                self._blank, self._before_blank = seen, self._past
            return None
        blank, before = self._blank, self._before_blank
        self._blank, self._before_blank = None, []
        if blank is None or not before:  # a recording that begins with a blank has nothing before it
            return None
        levels = np.array([float(np.abs(one.small - blank.small).mean()) for one in before])
        full = int(np.flatnonzero(levels >= 0.9 * levels.max())[-1])
        return Transition("fade", before[full].moment, seen.moment)

    def _dissolve(self, seen: _Seen) -> Transition | None:
        best = max(filter(None, (self._mixture(lag) for lag in _LAGS_S)), key=lambda one: one.change, default=None)
        candidate = self._candidate
        if best is not None and (candidate is None or best.change > _BETTER * candidate.change):
            self._candidate = best
            return None
        if candidate is None or not self._is_over(candidate, seen):
            return None
        found = Transition("dissolve", *self._ends(candidate._replace(last=seen)))
        self._candidate = None
        self._drop_before(found.end.seconds)
        return found

    def _mixture(self, lag_s: float) -> _Candidate | None:
        """The last `lag_s` seconds as a candidate, if their frames lie on the line from the first to the last."""
        last = self._past[-1]
        first = self._at(last.moment.seconds - lag_s)
        if first is None:
            return None
        line = last.small - first.small
        change = float(np.abs(line).mean())
        if change < _LEAST_CHANGE or _correlation(first.small, last.small) > _SAME_PICTURE:
            return None
        length, places, away, paled = float(line @ line), [], [], 0.0
        for share in _QUARTERS:
            between = self._at(last.moment.seconds - (1 - share) * lag_s)
            assert between is not None, "it lies after the first"
            offset = between.small - first.small
            place = float(offset @ line) / length
            places.append(place)
            away.append(float(np.linalg.norm(offset - place * line)) / length**0.5)
            paled = max(paled, _paling(first.small, between.small, last.small, place))
        rising = places[0] < places[1] < places[2] and _HALF_WAY[0] < places[1] < _HALF_WAY[1]
        is_mixture = rising and float(np.mean(away)) < _FARTHEST and paled > _LEAST_PALING
        return _Candidate(change, first, last) if is_mixture else None

    def _at(self, seconds: float) -> _Seen | None:
        """The remembered frame nearest to a time; None where the memory does not reach."""
        if seconds < self._past[0].moment.seconds - _SPACING_S / 2:
            return None
        place = bisect_left(self._past, seconds, key=lambda one: one.moment.seconds)
        nearest = self._past[max(0, place - 1) : place + 1]
        return min(nearest, key=lambda one: abs(one.moment.seconds - seconds))

    def _drop_before(self, seconds: float) -> None:
        del self._past[: bisect_left(self._past, seconds, key=lambda one: one.moment.seconds)]

    def _is_over(self, candidate: _Candidate, now: _Seen) -> bool:
        """Whether the picture has come to rest: it goes on along the candidate's line at less than half its pace."""
        length_s = candidate.last.moment.seconds - candidate.first.moment.seconds
        settled_s = max(_SETTLED_S, _SETTLED * length_s)
        before = self._at(now.moment.seconds - settled_s)
        if before is None or now.moment.seconds - candidate.last.moment.seconds < settled_s:
            return False
        line = candidate.last.small - candidate.first.small
        passed_s = now.moment.seconds - before.moment.seconds
        return float((now.small - before.small) @ line) / float(line @ line) < _AT_REST * passed_s / length_s

    def _ends(self, candidate: _Candidate) -> tuple[Moment, Moment]:
        """Where a dissolve starts and ends: near the former picture, near the next."""
        first, last = candidate.first, candidate.last
        line = last.small - first.small
        span = [s for s in self._past if first.moment.seconds <= s.moment.seconds <= last.moment.seconds]
        length = max(float(line @ line), _EVEN)  # a picture may have gone back to where it began
        places = [float((one.small - first.small) @ line) / length for one in span]
        start = max((i for i, place in enumerate(places) if place < 0.1), default=0)
        end = min((i for i, place in enumerate(places) if place > 0.9), default=len(span) - 1)
        return span[start].moment, span[max(start, end)].moment


def _is_blank(small: Small) -> bool:
    mean = float(small.mean())
    return (mean < _BLACK or mean > _WHITE) and float(small.std()) < _BLANK_SPREAD


def _paling(former: Small, between: Small, next_: Small, place: float) -> float:
    """How much contrast a frame has lost, of what the mixture of two pictures loses there: 1 for a dissolve, about 0
    for a camera that moves (the parabola of the variance, Alattar 1993). 0 near the ends, where there is little to
    see, and for pictures that differ evenly.
    """
    share, spread = place * (1 - place), float((next_ - former).var())
    if share < _NEAR_AN_END or spread < _EVEN:
        return 0.0
    even = (1 - place) * float(former.var()) + place * float(next_.var())
    return (even - float(between.var())) / (share * spread)


def _correlation(one: Small, other: Small) -> float:
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else 0.0
