"""The plan of a walkthrough: which picture is filmed how, from when to when, and how one gives way to the next. Pure.

The same pictures, wishes and seed give the same plan. Every time in it is a whole number of ticks of the video's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from config.errors import UserError
from tools.walkthrough.camera import Camera, draw_camera
from tools.walkthrough.dealing import FEWEST_PICTURES, Deck, deal_scenes
from tools.walkthrough.timing import (
    CUT,
    TRANSITIONS,
    Change,
    TransitionKind,
    draw_changes,
    frame_times,
    split,
    time_base_of,
)

_MOST_PICTURES = 6
# Shares of a segment that the transition to another scene, and all its transitions together, may take.
_TO_NEXT_SCENE, _ALL_TRANSITIONS = 0.2, 0.6


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a walkthrough shall be.

    Attributes:
        segments: how many; None: each scene once.
        segment_seconds: length of each.
        size: width and height of the frames in pixels.
        fps: frames per second; about their mean where the rate varies.
        variable_rate: frames come at uneven intervals.
        transitions: kinds to draw from.
        seed: of everything that is random.
    """

    segments: int | None = None
    segment_seconds: Fraction = Fraction(20)
    size: tuple[int, int] = (640, 360)
    fps: Fraction = Fraction(25)
    variable_rate: bool = False
    transitions: tuple[TransitionKind, ...] = TRANSITIONS
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Transition:
    """How a picture gives way to the next. Times in seconds; a cut starts and ends at the same time.

    Attributes:
        kind: cut, dissolve, or slow (a dissolve of some seconds).
        start, end: the next picture appears, the former is gone.
        from_scene, to_scene: the same scene within a segment.
    """

    kind: TransitionKind
    start: Fraction
    end: Fraction
    from_scene: str
    to_scene: str

    @property
    def midpoint(self) -> Fraction:
        """When both pictures are equally strong; a whole number of ticks."""
        return (self.start + self.end) / 2


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture as it is filmed. Times in seconds, appears <= start < end <= gone.

    Attributes:
        picture: path as the manifest has it.
        scene: what it shows.
        appears, gone: when the first trace of it is seen, and from when nothing is.
        start, end: from when to when it is seen alone, outside of transitions.
        camera: how it is filmed.
    """

    picture: str
    scene: str
    appears: Fraction
    start: Fraction
    end: Fraction
    gone: Fraction
    camera: Camera


@dataclass(frozen=True, slots=True)
class Segment:
    """Shots of one scene; segments meet in the midpoint of the transition between them. Times in seconds."""

    scene: str
    start: Fraction
    end: Fraction
    shots: tuple[Shot, ...]


@dataclass(frozen=True, slots=True)
class Walkthrough:
    """A video to be made.

    Attributes:
        seed: what it was drawn from.
        size: width and height in pixels.
        fps: frames per second; None where the rate varies.
        time_base: seconds per tick.
        pts: the time of each frame in ticks, rising from 0.
        segments: in order, without gaps.
        transitions: one between each shot and the next.
    """

    seed: int
    size: tuple[int, int]
    fps: Fraction | None
    time_base: Fraction
    pts: tuple[int, ...]
    segments: tuple[Segment, ...]
    transitions: tuple[Transition, ...]

    @property
    def shots(self) -> list[Shot]:
        """All shots, in order."""
        return [shot for segment in self.segments for shot in segment.shots]

    @property
    def repeats(self) -> int:
        """How many shots show a picture that was shown before."""
        return len(self.shots) - len({shot.picture for shot in self.shots})


def plan(pictures: Mapping[str, Sequence[str]], wishes: Wishes) -> Walkthrough:
    """Draw a walkthrough.

    Args:
        pictures: paths by scene, at least four of each.
        wishes: what it shall be.

    Raises:
        UserError: one scene alone cannot make several segments.
    """
    count = len(pictures) if wishes.segments is None else wishes.segments
    if count > 1 and len(pictures) < 2:
        raise UserError("segments that follow each other show different scenes; name two scenes or more")
    random = Random(wishes.seed)
    scenes = deal_scenes(list(pictures), count, random)
    decks = {scene: Deck(paths, random) for scene, paths in pictures.items()}
    hands = [decks[scene].draw(_hand_size(len(decks[scene]), random)) for scene in scenes]
    time_base = time_base_of(wishes.fps)
    length = round(wishes.segment_seconds / time_base)
    lengths, changes = _draw_lengths([len(hand) for hand in hands], length, wishes, random)
    spans = _spans(lengths, changes, time_base)
    segments = []
    for number, (scene, hand) in enumerate(zip(scenes, hands, strict=True)):
        shots = tuple(_shot(picture, scene, *next(spans), random) for picture in hand)
        segments.append(Segment(scene, number * length * time_base, (number + 1) * length * time_base, shots))
    return Walkthrough(
        seed=wishes.seed,
        size=wishes.size,
        fps=None if wishes.variable_rate else wishes.fps,
        time_base=time_base,
        pts=frame_times(wishes.fps, time_base, count * length, variable=wishes.variable_rate, random=random),
        segments=tuple(segments),
        transitions=_transitions(segments, changes),
    )


def _hand_size(pictures: int, random: Random) -> int:
    return min(pictures, random.randint(FEWEST_PICTURES, _MOST_PICTURES))


def _draw_lengths(hands: Sequence[int], length: int, wishes: Wishes, random: Random) -> tuple[list[int], list[Change]]:
    """How long each shot is seen alone, in ticks, and the transitions between them.

    Args:
        hands: the number of shots of each segment.
        length: of a segment, in ticks.
        wishes: for the kinds of transitions.
        random: draws.
    """
    time_base, kinds = time_base_of(wishes.fps), wishes.transitions
    joins = [
        CUT,
        *(draw_changes(kinds, 1, int(_TO_NEXT_SCENE * length), time_base, random)[0] for _ in hands[1:]),
        CUT,
    ]
    alone: list[int] = []
    changes: list[Change] = []
    for number, shots in enumerate(hands):
        halves = (joins[number].ticks + joins[number + 1].ticks) // 2
        inner = draw_changes(kinds, shots - 1, int(_ALL_TRANSITIONS * length) - halves, time_base, random)
        alone += split(length - halves - sum(change.ticks for change in inner), shots, random)
        changes += [*inner, joins[number + 1]]
    return alone, changes[:-1]


def _spans(lengths: Sequence[int], changes: Sequence[Change], time_base: Fraction) -> Iterator[tuple[Fraction, ...]]:
    """Of each shot: when it appears, starts to be alone, ends to be so, and is gone, in seconds."""
    start, before = 0, CUT
    for length, after in zip(lengths, [*changes, CUT], strict=True):
        end = start + length
        times = (start - before.ticks, start, end, end + after.ticks)
        yield tuple(ticks * time_base for ticks in times)
        start, before = end + after.ticks, after


def _shot(
    picture: str, scene: str, appears: Fraction, start: Fraction, end: Fraction, gone: Fraction, random: Random
) -> Shot:
    return Shot(picture, scene, appears, start, end, gone, draw_camera(random, float(gone - appears)))


def _transitions(segments: Sequence[Segment], changes: Sequence[Change]) -> tuple[Transition, ...]:
    shots = [shot for segment in segments for shot in segment.shots]
    return tuple(
        Transition(change.kind, before.end, after.start, before.scene, after.scene)
        for change, before, after in zip(changes, shots, shots[1:], strict=False)
    )
