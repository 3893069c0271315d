"""How steady, quick and right committed labels are on a walkthrough. Pure.

pts are (N,) int64 in ticks of the truth, rising; labels (N,) int64, positions in a list of scene names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tools.walkthrough.measures import Ints, differs_from_before, share
from tools.walkthrough.truth import Truth

TOLERANCE_S = 1.0
"""How far the ends of a segment may be off, for its F1."""


class Delay(NamedTuple):
    """Of a true change: how it came, how long the right label took, whether a raw one could be right from the start.

    kind: of the transition.
    seconds: from the cut, or the midpoint of a gradual transition, to the first right label.
    clear: the raw label is right for most of the first picture as well, not only of the whole segment.
    """

    kind: str
    seconds: float
    clear: bool


@dataclass(frozen=True)
class Steadiness:
    """What was counted; of several videos it adds up.

    Attributes:
        known_s: time of known scene, that is, outside of transitions between scenes.
        right_s: of that, the time with the right label.
        seconds: all time.
        flips: changes of the label beyond the true ones: within a segment, all but the first.
        delays: of each true change whose segment the raw label names rightly for most of its time.
        missed: of these, changes whose segment ended without a right label; their delay is the segment's length.
        left_out: true changes whose segment it does not.
        true_segments, said_segments, matched: for F1; matched have the same scene and ends less than a second apart.
    """

    known_s: float = 0.0
    right_s: float = 0.0
    seconds: float = 0.0
    flips: int = 0
    delays: tuple[Delay, ...] = field(default=())
    missed: int = 0
    left_out: int = 0
    true_segments: int = 0
    said_segments: int = 0
    matched: int = 0

    def figures(self) -> dict[str, float | int | None]:
        """Ready for JSON; a share of nothing is None."""
        hard = [delay for delay in self.delays if delay.kind == "cut"]
        other = [delay for delay in self.delays if delay.kind != "cut"]
        segments = self.true_segments + self.said_segments
        return {
            "accuracy": share(self.right_s, self.known_s),
            "flips_per_minute": share(60 * self.flips, self.seconds),
            "delay_p50_s": _percentile(self.delays, 50),
            "cut_delay_p50_s": _percentile(hard, 50),
            "cut_delay_p95_s": _percentile(hard, 95),
            "other_delay_p50_s": _percentile(other, 50),
            "other_delay_p95_s": _percentile(other, 95),
            "clear_cut_delay_p95_s": _percentile([delay for delay in hard if delay.clear], 95),
            "clear_other_delay_p95_s": _percentile([delay for delay in other if delay.clear], 95),
            "segment_f1": share(2 * self.matched, segments),
            "changes": len(self.delays),
            "missed": self.missed,
            "left_out": self.left_out,
        }


def total(parts: Iterable[Steadiness]) -> Steadiness:
    """The sum over videos."""
    found = list(parts)
    return Steadiness(
        known_s=sum(one.known_s for one in found),
        right_s=sum(one.right_s for one in found),
        seconds=sum(one.seconds for one in found),
        flips=sum(one.flips for one in found),
        delays=tuple(delay for one in found for delay in one.delays),
        missed=sum(one.missed for one in found),
        left_out=sum(one.left_out for one in found),
        true_segments=sum(one.true_segments for one in found),
        said_segments=sum(one.said_segments for one in found),
        matched=sum(one.matched for one in found),
    )


class Walk:
    """A walkthrough with its frames: what any number of labellings are measured against.

    Args:
        truth: of the video.
        pts: of its frames, (N,).
        raw: the label of each frame alone, (N,).
        names: the scenes that the model knows.
    """

    def __init__(self, truth: Truth, pts: Ints, raw: Ints, names: Sequence[str]) -> None:
        place = {name: i for i, name in enumerate(names)}
        self._truth, self._pts, self._tick = truth, pts, float(truth.tick)
        self._seconds = np.diff(pts, append=max(truth.end_pts, int(pts[-1]))) * self._tick
        scenes = [truth.scene_at(int(t)) for t in pts]
        self._scenes = np.array([-1 if scene is None else place.get(scene, -2) for scene in scenes], np.int64)
        self._true = [(place.get(s.scene, -2), s.start_pts, s.end_pts) for s in truth.segments]
        self._right = [self._is_mostly(scene, start, end, raw) for scene, start, end in self._true]
        changes = [t for t in truth.transitions if t.changes_scene]
        shots = [truth.shot_at(t.end_pts) for t in changes]
        self._clear = [
            shot is not None and self._is_mostly(place.get(shot.scene, -2), shot.start_pts, shot.end_pts, raw)
            for shot in shots
        ]
        self._changes = changes

    def measure(self, labels: Ints) -> Steadiness:
        """Compare the labels of all frames, (N,), with the truth."""
        known, right = self._scenes != -1, self._scenes == labels
        delays, missed = self._delays(labels)
        said = self._segments(labels)
        return Steadiness(
            known_s=float(self._seconds[known].sum()),
            right_s=float(self._seconds[right].sum()),
            seconds=float(self._seconds.sum()),
            flips=self._flips(labels),
            delays=tuple(delays),
            missed=missed,
            left_out=len(self._changes) - len(delays),
            true_segments=len(self._true),
            said_segments=len(said),
            matched=self._matches(said),
        )

    def _is_mostly(self, scene: int, start: int, end: int, raw: Ints) -> bool:
        """Whether the raw label is `scene` for most of the known time from `start` to `end`."""
        here = (self._scenes != -1) & (self._pts >= start) & (self._pts < end)
        whole = float(self._seconds[here].sum())
        return whole > 0 and float(self._seconds[here & (raw == scene)].sum()) > whole / 2

    def _delays(self, labels: Ints) -> tuple[list[Delay], int]:
        """Delays of the true changes that count, and how many of them were missed."""
        delays, missed = [], 0
        changes = zip(self._true[1:], self._right[1:], self._clear, self._changes, strict=True)
        for (scene, start, end), fair, clear, change in changes:
            if not fair:
                continue
            right = (self._pts >= start) & (self._pts < end) & (labels == scene)
            missed += not right.any()
            first = int(self._pts[right.argmax()]) if right.any() else end
            delays.append(Delay(change.kind, max(0, first - start) * self._tick, clear))
        return delays, missed

    def _flips(self, labels: Ints) -> int:
        """Changes within each segment beyond the first; a segment begins with the transition to it."""
        changed = differs_from_before(labels)
        flips = 0
        starts = [0, *(change.start_pts for change in self._changes)]
        for start, end in pairwise([*starts, self._truth.end_pts + 1]):
            inside = int(changed[(self._pts >= start) & (self._pts < end)].sum())
            flips += max(0, inside - (start > 0))
        return flips

    def _segments(self, labels: Ints) -> list[tuple[int, int, int]]:
        """(label, start, end) of each run of equal labels, in ticks."""
        starts = np.flatnonzero(differs_from_before(labels))
        edges = [0, *starts.tolist(), len(labels)]
        ends = [*self._pts.tolist(), self._truth.end_pts]
        return [(int(labels[a]), ends[a], ends[b]) for a, b in pairwise(edges)]

    def _matches(self, said: Sequence[tuple[int, int, int]]) -> int:
        """How many true segments were said; no two can match one, as segments are longer than the tolerance."""
        reach = TOLERANCE_S / self._tick
        return sum(
            any(one == scene and abs(first - start) <= reach and abs(last - end) <= reach for one, first, last in said)
            for scene, start, end in self._true
        )


def _percentile(delays: Sequence[Delay], percent: float) -> float | None:
    """The smallest delay in seconds that at least `percent` of the delays do not exceed."""
    if not delays:
        return None
    return round(float(np.percentile([delay.seconds for delay in delays], percent, method="inverted_cdf")), 4)
