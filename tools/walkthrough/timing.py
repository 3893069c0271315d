"""Lengths and times of a walkthrough in whole ticks of the video's clock: transitions, shots, frames. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from random import Random
from typing import Literal, NamedTuple, get_args

TransitionKind = Literal["cut", "dissolve", "slow"]
TRANSITIONS: tuple[TransitionKind, ...] = get_args(TransitionKind)

_SECONDS: Mapping[TransitionKind, tuple[float, float]] = {"cut": (0, 0), "dissolve": (0.5, 1), "slow": (2, 4)}
_COARSEST_TICKS = 10_000  # a second, at least
_SHOT_LENGTHS = (0.7, 1.3)  # of the mean
_INTERVALS = (0.6, 1.4)  # of the nominal one, where the rate varies
_GAPS = 0.03  # share of the intervals in which a camera loses one to three frames more


class Change(NamedTuple):
    """A transition by its kind and its length in ticks, an even number: half of it belongs to either side."""

    kind: TransitionKind
    ticks: int


CUT = Change("cut", 0)


def time_base_of(fps: Fraction) -> Fraction:
    """Seconds per tick, so fine that times need no rounding worth a word and an interval of `fps` is whole."""
    return 1 / Fraction(fps.numerator * math.ceil(_COARSEST_TICKS / fps.numerator))


def draw_changes(
    kinds: Sequence[TransitionKind], count: int, most_ticks: int, time_base: Fraction, random: Random
) -> list[Change]:
    """`count` transitions of random kinds and lengths; all shortened alike where they would take over `most_ticks`."""
    drawn = [random.choice(kinds) for _ in range(count)]
    lengths = [random.uniform(*_SECONDS[kind]) / float(time_base) for kind in drawn]
    scale = min(1.0, most_ticks / sum(lengths)) if any(lengths) else 1.0
    return [Change(kind, 2 * int(scale * length / 2)) for kind, length in zip(drawn, lengths, strict=True)]


def split(ticks: int, count: int, random: Random) -> list[int]:
    """`ticks` in `count` uneven parts, none of them empty as long as there is a tick for each."""
    weights = [random.uniform(*_SHOT_LENGTHS) for _ in range(count)]
    ends = [round(ticks * end / sum(weights)) for end in accumulate(weights)]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


def frame_times(fps: Fraction, time_base: Fraction, end: int, *, variable: bool, random: Random) -> tuple[int, ...]:
    """The times of the frames in ticks from 0 up to, but not including, `end`; at uneven intervals if `variable`."""
    step = int(1 / (fps * time_base))
    if not variable:
        return tuple(range(0, end, step))
    times, now = [], 0
    while now < end:
        times.append(now)
        lost = random.randint(1, 3) if random.random() < _GAPS else 0
        now += max(1, round(step * (random.uniform(*_INTERVALS) + lost)))
    return tuple(times)
