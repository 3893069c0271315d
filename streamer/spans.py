"""Spans: which scene was believed from when to when, and when nothing was. Pure; `SpanGatherer` needs no pictures.

Two clocks are kept apart. A frame's own time is `pts`, in units of `time_base`, and compares only within a stretch of
the stream that runs on (a part: one start of the publisher, one epoch, one time base). The film's time counts seconds
from the first frame over all parts, each of which begins where the one before ends; all of it is exact fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from models.transitions import Transition
from streamer.state import SceneState

_NOTHING = Fraction(0)


@dataclass(frozen=True, slots=True)
class CutNote:
    """What a label says of a cut that is over with its frame.

    Attributes:
        kind: hard, fade or dissolve.
        frame_id, pts: the first frame of the next picture; that of the label where it does not say.
        start_frame_id, start_pts: the last frame of the former picture; None of a hard cut, and where it is not said.
    """

    kind: str
    frame_id: int
    pts: int
    start_frame_id: int | None = None
    start_pts: int | None = None

    @classmethod
    def of(cls, transition: Transition) -> CutNote:
        """What there is to say of a transition."""
        start, end = transition.start, transition.end
        if transition.kind == "hard":
            return cls(transition.kind, end.frame_id, end.pts)
        return cls(transition.kind, end.frame_id, end.pts, start.frame_id, start.pts)


@dataclass(frozen=True, slots=True)
class Moment:
    """What is said of one frame.

    Attributes:
        pts: presentation time in units of `time_base`.
        time_base: seconds per unit of pts.
        epoch: pts compare only within an epoch.
        frame_id: number of the frame among those that were decoded.
        stable: the stable scene.
        p: smoothed probability of the stable scene.
        unknown: no scene is probable enough to be believed.
        p_unknown: smoothed probability that none of the scenes is shown; None where the model does not say.
        cut: the cut that is over with this frame, if any.
        run: which start of the publisher spoke.
    """

    pts: int
    time_base: Fraction
    epoch: int
    frame_id: int
    stable: str
    p: float
    unknown: bool = False
    p_unknown: float | None = None
    cut: CutNote | None = None
    run: str = ""

    @classmethod
    def of(cls, state: SceneState) -> Moment:
        """The moment of a state."""
        frame, belief = state.frame, state.belief
        return cls(
            frame.pts,
            frame.time_base,
            frame.epoch,
            frame.frame_id,
            stable=state.scene,
            p=belief.p,
            unknown=belief.unknown,
            p_unknown=belief.p_unknown,
            cut=None if state.transition is None else CutNote.of(state.transition),
        )

    @property
    def scene(self) -> str | None:
        """The scene that is believed; None if none is."""
        return None if self.unknown else self.stable

    @property
    def confidence(self) -> float | None:
        """How probable it is that the scene is shown, or that none is; None where the model does not say."""
        return self.p_unknown if self.unknown else self.p

    @property
    def part(self) -> tuple[str, int, Fraction]:
        """What pts must have in common to be compared."""
        return self.run, self.epoch, self.time_base


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive frames of which the same is believed; half-open, as all intervals of time here.

    Attributes:
        scene: its name; None where no scene was believed.
        part: number of the part, from 0; a span never lies in two.
        epoch: the epoch of that part.
        start_pts: pts of its first frame.
        end_pts: pts of the first frame after it. The last frame of a part is taken to last as long as the one before.
        time_base: seconds per unit of pts.
        start: the film's time of its first frame, in seconds.
        frames: how many frames.
        p: mean probability of the scene (or of "none of them") over the frames that have one; None if none has.
    """

    scene: str | None
    part: int
    epoch: int
    start_pts: int
    end_pts: int
    time_base: Fraction
    start: Fraction
    frames: int
    p: float | None

    @property
    def duration(self) -> Fraction:
        """Its length in seconds."""
        return (self.end_pts - self.start_pts) * self.time_base

    @property
    def end(self) -> Fraction:
        """The film's time at which it ends, in seconds."""
        return self.start + self.duration


@dataclass(frozen=True, slots=True)
class Cut:
    """Where one picture gave way to another.

    Attributes:
        kind: hard, fade or dissolve; None where that was not written down.
        frame_id, pts: the first frame of the next picture.
        epoch: the epoch of both pts.
        time_base: seconds per unit of pts.
        at: the film's time of that frame, in seconds.
        start_frame_id, start_pts, start: the same of the last frame of the former picture, where a fade or dissolve
            began. None of a hard cut, and where that is not known.
    """

    kind: str | None
    frame_id: int
    epoch: int
    pts: int
    time_base: Fraction
    at: Fraction
    start_frame_id: int | None = None
    start_pts: int | None = None
    start: Fraction | None = None

    def later(self, by: Fraction) -> Cut:
        """The same, so many seconds later in the film."""
        return replace(self, at=self.at + by, start=None if self.start is None else self.start + by)


@dataclass(frozen=True, slots=True)
class SceneTimeline:
    """The finished timeline of one source.

    Attributes:
        source: the source's name.
        spans: in order, each beginning where the one before ends; at least one.
        cuts: in order.
        frames: how many frames were looked at.
        longest_gap: the longest time from one frame to the next, in seconds; a scene is taken to last that long.
        model: which model spoke, as in label messages; empty if that is not known.
    """

    source: str
    spans: tuple[Span, ...]
    cuts: tuple[Cut, ...]
    frames: int
    longest_gap: Fraction = _NOTHING
    model: Mapping[str, Any] = field(default_factory=dict)

    @property
    def start(self) -> Fraction:
        """The film's time of the first frame, in seconds."""
        return self.spans[0].start

    @property
    def end(self) -> Fraction:
        """The film's time at which the last frame ends, in seconds."""
        return self.spans[-1].end

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame to the end of the last one."""
        return self.end - self.start

    @property
    def scenes(self) -> tuple[str | None, ...]:
        """The scenes that occur, None among them for the time without one, in the order of their first span."""
        return tuple(dict.fromkeys(span.scene for span in self.spans))

    def starting_at(self, start: Fraction) -> SceneTimeline:
        """The same with the first frame at that time of the film, in seconds."""
        by = start - self.start
        spans = tuple(replace(span, start=span.start + by) for span in self.spans)
        return replace(self, spans=spans, cuts=tuple(cut.later(by) for cut in self.cuts))


class SpanGatherer:
    """Gathers moments, in order, into spans."""

    def __init__(self) -> None:
        self.frames = 0
        self.longest_gap = _NOTHING
        self._spans: list[_Growing] = []
        self._cuts: list[Cut] = []
        self._first: Moment | None = None  # of the part
        self._last: Moment | None = None
        self._step = _NOTHING  # seconds from the frame before the last to the last

    def add(self, moment: Moment) -> Fraction:
        """Take the next moment; gives its time in the film, in seconds.

        Raises:
            ValueError: its pts is not larger than the last one's of its part.
        """
        last = self._last
        if last is None or last.part != moment.part:
            self._end_part()
            self._begin(moment, self._spans[-1].part + 1 if self._spans else 0)
            self._first = moment
        else:
            self._go_on(last, moment)
        span = self._spans[-1]
        span.take(moment)
        at = span.film_time(moment.pts)
        if moment.cut is not None:
            self._note(moment.cut, moment)
        self.frames += 1
        self._last = moment
        return at

    def timeline(self, source: str, model: Mapping[str, Any] | None = None) -> SceneTimeline:
        """What was gathered so far.

        Raises:
            ValueError: nothing was.
        """
        if not self._spans:
            raise ValueError("a timeline needs a frame at least")
        self._end_part()
        spans = tuple(span.finished() for span in self._spans)
        # A dissolve is told later than it ends.
        cuts = tuple(sorted(self._cuts, key=lambda cut: cut.at))
        return SceneTimeline(source, spans, cuts, self.frames, self.longest_gap, dict(model or {}))

    def _note(self, cut: CutNote, moment: Moment) -> None:
        """Keep a cut, with its place in the film; not one that was over before the first frame of the part."""
        assert self._first is not None, "a cut comes with a frame"
        span, first_pts = self._spans[-1], self._first.pts
        if cut.pts < first_pts:
            return
        start = None if cut.start_pts is None else span.film_time(max(first_pts, cut.start_pts))
        at = span.film_time(cut.pts)
        place = (cut.frame_id, moment.epoch, cut.pts, moment.time_base, at)
        self._cuts.append(Cut(cut.kind, *place, cut.start_frame_id, cut.start_pts, start))

    def _begin(self, moment: Moment, part: int) -> None:
        start = self._spans[-1].finished().end if self._spans else _NOTHING
        self._spans.append(_Growing(moment, part, start))

    def _go_on(self, last: Moment, moment: Moment) -> None:
        if moment.pts <= last.pts:
            raise ValueError(f"pts {moment.pts} comes after {last.pts} in the same epoch")
        self._step = (moment.pts - last.pts) * moment.time_base
        self.longest_gap = max(self.longest_gap, self._step)
        span = self._spans[-1]
        span.end_pts = moment.pts
        if span.scene != moment.scene:
            self._begin(moment, span.part)

    def _end_part(self) -> None:
        """The last frame lasts as long as the one before, be that of another part; a tick if there is none."""
        if self._last is not None:
            ticks = max(1, round(self._step / self._last.time_base))
            self._spans[-1].end_pts = self._last.pts + ticks


class _Growing:
    """A span that is not finished."""

    def __init__(self, first: Moment, part: int, start: Fraction) -> None:
        self.scene, self.part = first.scene, part
        self.end_pts = first.pts
        self._first, self._start = first, start
        self._frames = self._told = 0
        self._p_sum = 0.0

    def take(self, moment: Moment) -> None:
        self._frames += 1
        if moment.confidence is not None:
            self._told += 1
            self._p_sum += moment.confidence

    def film_time(self, pts: int) -> Fraction:
        return self._start + (pts - self._first.pts) * self._first.time_base

    def finished(self) -> Span:
        first = self._first
        p = self._p_sum / self._told if self._told else None
        return Span(
            self.scene, self.part, first.epoch, first.pts, self.end_pts, first.time_base, self._start, self._frames, p
        )
