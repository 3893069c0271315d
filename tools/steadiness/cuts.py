"""How well transitions are found on walkthroughs, whose transitions are known. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from models.transitions import Moment, Transition, TransitionDetector
from tools.walkthrough.truth import TransitionTruth, Truth

_TOLERANCE_S = 0.5  # around a gradual transition


@dataclass(frozen=True, slots=True)
class CutTally:
    """Counts of one or several videos; tallies add up.

    Attributes:
        hard, hard_found: true hard cuts; those with a hard one on the very frame.
        gradual, gradual_found: true fades and dissolves; those with a find in their time, give or take 0.5 s.
        hard_said, hard_wrong: hard cuts that were found; those that are not on the frame of a true one.
        gradual_said, gradual_wrong: the same of gradual ones.
    """

    hard: int = 0
    hard_found: int = 0
    gradual: int = 0
    gradual_found: int = 0
    hard_said: int = 0
    hard_wrong: int = 0
    gradual_said: int = 0
    gradual_wrong: int = 0

    def __add__(self, other: CutTally) -> CutTally:
        return CutTally(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(CutTally)))

    def figures(self) -> dict[str, float | int | None]:
        """Counts, recall and precision; a share of nothing is None."""
        return {
            "hard": self.hard,
            "hard_recall": _share(self.hard_found, self.hard),
            "hard_precision": _share(self.hard_said - self.hard_wrong, self.hard_said),
            "gradual": self.gradual,
            "gradual_recall": _share(self.gradual_found, self.gradual),
            "gradual_precision": _share(self.gradual_said - self.gradual_wrong, self.gradual_said),
        }


def find_transitions(
    detector: TransitionDetector, pts: NDArray[np.int64], thumbnails: NDArray[np.uint8], truth: Truth
) -> list[Transition | None]:
    """What the detector says of each frame: pts (N,) in ticks of the truth, thumbnails (N, 18, 32, 3)."""
    tick = float(truth.tick)
    return [
        detector.update_small(small.astype(np.int16), Moment(number, int(t), int(t) * tick))
        for number, (t, small) in enumerate(zip(pts, thumbnails, strict=True))
    ]


def tally_cuts(found: Sequence[Transition | None], pts: NDArray[np.int64], truth: Truth) -> CutTally:
    """Compare what was found at each frame, pts (N,), with the truth."""
    said = [one for one in found if one is not None]
    hard = [one for one in said if one.kind == "hard"]
    gradual = [one for one in said if one.kind != "hard"]
    true_hard = [t for t in truth.transitions if t.kind == "cut"]
    true_gradual = [t for t in truth.transitions if t.kind != "cut"]
    frames = {int(pts[int(np.searchsorted(pts, t.start_pts))]) for t in true_hard if t.start_pts <= pts[-1]}
    tolerance = _TOLERANCE_S / float(truth.tick)

    def meets(one: Transition, true: TransitionTruth) -> bool:
        return one.end.pts >= true.start_pts - tolerance and one.start.pts <= true.end_pts + tolerance

    return CutTally(
        hard=len(true_hard),
        hard_found=len(frames & {one.end.pts for one in hard}),
        gradual=len(true_gradual),
        gradual_found=sum(any(meets(one, true) for one in gradual) for true in true_gradual),
        hard_said=len(hard),
        hard_wrong=sum(one.end.pts not in frames for one in hard),
        gradual_said=len(gradual),
        gradual_wrong=sum(not any(meets(one, true) for true in true_gradual) for one in gradual),
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
