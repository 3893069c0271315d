"""`OUT.truth.json`: what a walkthrough shows at each moment. Its meaning is published in docs/walkthroughs.md.

Times are `pts`, ticks of `time_base` seconds, and intervals are half-open: start_pts <= pts < end_pts.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from config.errors import UserError
from config.faults import describe
from tools.walkthrough.planning import Walkthrough
from tools.walkthrough.timing import TransitionKind

VERSION = 1
"""Version of the file's form; grows when a reader of the old one would misread the new."""


class TruthError(UserError):
    """A truth file that is missing, damaged, or does not belong to its video; says the file and the key."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Span(_Part):
    """From when to when, in ticks and in seconds."""

    start_pts: int = Field(ge=0)
    end_pts: int = Field(ge=0)
    start_s: float
    end_s: float


class SegmentTruth(Span):
    """Shots of one scene; segments meet in the midpoint of the transition between them."""

    scene: str


class ShotTruth(Span):
    """One picture, from when to when it is seen alone."""

    picture: str
    scene: str


class TransitionTruth(Span):
    """How a picture gives way to the next; a cut starts and ends at the same time."""

    kind: TransitionKind
    midpoint_pts: int = Field(ge=0)
    midpoint_s: float
    from_scene: str
    to_scene: str
    changes_scene: bool


class Truth(_Part):
    """The content of the file.

    Attributes:
        version: of the form.
        seed: what the video was drawn from.
        fps: frames per second as a fraction, or "variable".
        size: width and height in pixels.
        time_base: seconds per tick as a fraction.
        frames: how many frames the video has.
        segments, shots, transitions: in order; segments have no gaps, shots have the transitions in theirs.
    """

    version: Literal[1]
    seed: int
    fps: tuple[PositiveInt, PositiveInt] | Literal["variable"]
    size: tuple[PositiveInt, PositiveInt]
    time_base: tuple[PositiveInt, PositiveInt]
    frames: PositiveInt
    segments: tuple[SegmentTruth, ...] = Field(min_length=1)
    shots: tuple[ShotTruth, ...] = Field(min_length=1)
    transitions: tuple[TransitionTruth, ...]

    @property
    def tick(self) -> Fraction:
        """Seconds per tick."""
        return Fraction(*self.time_base)

    @property
    def end_pts(self) -> int:
        """Where the video ends."""
        return self.segments[-1].end_pts

    def segment_at(self, pts: int) -> SegmentTruth | None:
        """The segment at a time, the next one from the midpoint of a transition on; None outside the video."""
        return _at(self.segments, pts)

    def shot_at(self, pts: int) -> ShotTruth | None:
        """The picture that is seen alone at a time; None inside transitions and outside the video."""
        return _at(self.shots, pts)

    def transition_at(self, pts: int) -> TransitionTruth | None:
        """The transition at a time; None where a picture is seen alone. A cut takes no time and is never found."""
        return _at(self.transitions, pts)

    def scene_at(self, pts: int) -> str | None:
        """The scene at a time; None inside transitions from one scene to another and outside the video."""
        transition, segment = self.transition_at(pts), self.segment_at(pts)
        if segment is None or (transition is not None and transition.changes_scene):
            return None
        return segment.scene


def truth_path(video: Path) -> Path:
    """Where the truth of a video lies: `walk.mp4` has `walk.truth.json` beside it."""
    return video.with_suffix(".truth.json")


def truth_of(walkthrough: Walkthrough) -> Truth:
    """The truth of a video that was made by a plan."""
    base, rate = walkthrough.time_base, walkthrough.fps

    def span(start: Fraction, end: Fraction) -> dict[str, Any]:
        return {"start_pts": int(start / base), "end_pts": int(end / base)} | {
            "start_s": _seconds(start),
            "end_s": _seconds(end),
        }

    return Truth(
        version=VERSION,
        seed=walkthrough.seed,
        fps="variable" if rate is None else (rate.numerator, rate.denominator),
        size=walkthrough.size,
        time_base=(base.numerator, base.denominator),
        frames=len(walkthrough.pts),
        segments=tuple(SegmentTruth(scene=s.scene, **span(s.start, s.end)) for s in walkthrough.segments),
        shots=tuple(ShotTruth(picture=s.picture, scene=s.scene, **span(s.start, s.end)) for s in walkthrough.shots),
        transitions=tuple(
            TransitionTruth(
                kind=t.kind,
                **span(t.start, t.end),
                midpoint_pts=int(t.midpoint / base),
                midpoint_s=_seconds(t.midpoint),
                from_scene=t.from_scene,
                to_scene=t.to_scene,
                changes_scene=t.from_scene != t.to_scene,
            )
            for t in walkthrough.transitions
        ),
    )


def read_truth(path: Path) -> Truth:
    """Read and check a truth file.

    Raises:
        TruthError: it is missing, of another version, or wrong; the message has the file and the key.
    """
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise TruthError(
            f"no truth at {path}; it is written with the video by `scene-streamer walkthrough make`, keep them together"
        ) from None
    except (OSError, ValueError) as error:
        raise TruthError(f"{path} is no truth of a walkthrough: {error}") from error
    version = values.get("version") if isinstance(values, dict) else None
    if version is not None and version != VERSION:
        raise TruthError(f"{path}: version = {version!r}, but only {VERSION} can be read here; make the video again")
    try:
        truth = Truth.model_validate(values)
    except ValidationError as error:
        raise TruthError(f"{path}: {describe(error, Truth)}") from error
    for key, found, wanted in _claims(truth):
        if found != wanted:
            raise TruthError(f"{path}: {key} is {found!r}, but its neighbours say {wanted!r}; make the video again")
    return truth


def _claims(truth: Truth) -> Iterator[tuple[str, object, object]]:
    """What must agree for the parts to fit together: key, what is there, what should be."""
    shots, transitions = truth.shots, truth.transitions
    yield "len(transitions)", len(transitions), len(shots) - 1
    for key, spans in (("segments", truth.segments), ("shots", shots)):
        yield f"{key}[0].start_pts", spans[0].start_pts, 0
        yield f"{key}[{len(spans) - 1}].end_pts", spans[-1].end_pts, truth.end_pts
        for i, span in enumerate(spans):
            yield f"{key}[{i}].start_pts < end_pts", span.start_pts < span.end_pts, True
    for i, (before, after) in enumerate(pairwise(truth.segments), start=1):
        yield f"segments[{i}].start_pts", after.start_pts, before.end_pts
    for i, change in enumerate(transitions):
        yield f"transitions[{i}].start_pts", change.start_pts, shots[i].end_pts
        yield f"transitions[{i}].end_pts", change.end_pts, shots[i + 1].start_pts
        middle = min(max(change.midpoint_pts, change.start_pts), change.end_pts)
        yield f"transitions[{i}].midpoint_pts", change.midpoint_pts, middle
        scenes = (shots[i].scene, shots[i + 1].scene)
        yield f"transitions[{i}].from_scene and to_scene", (change.from_scene, change.to_scene), scenes
        yield f"transitions[{i}].changes_scene", change.changes_scene, scenes[0] != scenes[1]
    for i, shot in enumerate(shots):
        segment = truth.segment_at(shot.start_pts)
        yield f"shots[{i}].scene", shot.scene, segment and segment.scene


def _seconds(time: Fraction) -> float:
    return round(float(time), 6)


def _at(spans: Sequence[Any], pts: int) -> Any:
    """The last span that starts at or before `pts`, if it has not ended."""
    place = bisect_right(spans, pts, key=lambda span: span.start_pts) - 1
    return spans[place] if place >= 0 and pts < spans[place].end_pts else None
