"""How right and how steady labels are on a walkthrough. Pure: arrays and a truth in, tallies out.

pts are (N,) int64 in ticks of the truth, rising; labels (N,) int64, positions in a list of scene names; unknown (N,)
bool. A frame weighs as much as the time until the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tools.walkthrough.truth import Truth

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted on frames of known scene; tallies of scenes or videos add up.

    Attributes:
        frames: frames that count.
        seconds: their time.
        named_s: the time of scenes that the model has a name for.
        right_s: the time with the right label.
        unknown_s: the time called unknown.
        pairs: frames whose frame before shows the same picture, both outside of transitions.
        paired_s: the time from those frames before to them.
        flips: pairs that differ in the label.
        unknown_flips: pairs of which one is called unknown and the other is not.
    """

    frames: int = 0
    seconds: float = 0.0
    named_s: float = 0.0
    right_s: float = 0.0
    unknown_s: float = 0.0
    pairs: int = 0
    paired_s: float = 0.0
    flips: int = 0
    unknown_flips: int = 0

    def figures(self) -> dict[str, float | int | None]:
        """Ready for JSON; a share of nothing is None."""
        return {
            "frames": self.frames,
            "seconds": round(self.seconds, 6),
            "accuracy": share(self.right_s, self.named_s),
            "flips": share(self.flips, self.pairs),
            "flips_per_minute": share(60 * self.flips, self.paired_s),
            "unknown": share(self.unknown_s, self.seconds),
            "unknown_flips": share(self.unknown_flips, self.pairs),
            "unknown_flips_per_minute": share(60 * self.unknown_flips, self.paired_s),
        }


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies."""
    parts = list(tallies)
    return Tally(**{field.name: sum(getattr(part, field.name) for part in parts) for field in fields(Tally)})


def tally_scenes(pts: Ints, labels: Ints, unknown: Bools, names: Sequence[str], truth: Truth) -> dict[str, Tally]:
    """A tally for each scene of the truth, in the order of the names.

    Args:
        pts: of the frames that were looked at.
        labels: what the model says of each, positions in `names`.
        unknown: whether it calls it unknown.
        names: the scenes that the model knows.
        truth: of the video.

    Raises:
        ValueError: the arrays differ in length, or pts do not rise.
    """
    if not len(pts) == len(labels) == len(unknown):
        raise ValueError(f"{len(pts)} pts need as many labels and unknowns, not {len(labels)} and {len(unknown)}")
    if (np.diff(pts) <= 0).any():
        raise ValueError("pts must rise")
    scenes = np.array([truth.scene_at(int(t)) or "" for t in pts], dtype=object)
    said = np.array([*names, ""], dtype=object)[labels]
    durations = np.diff(pts, append=max(truth.end_pts, int(pts[-1]))) if len(pts) else pts
    seconds = durations * float(truth.tick)
    pairs = pairs_of(pts, truth)
    gaps = np.diff(pts, prepend=pts[:1]) * float(truth.tick)
    flips = pairs & differs_from_before(labels)
    unknown_flips = pairs & differs_from_before(unknown)
    found: dict[str, Tally] = {}
    for scene in sorted({segment.scene for segment in truth.segments}):
        here = scenes == scene
        found[scene] = Tally(
            frames=int(here.sum()),
            seconds=float(seconds[here].sum()),
            named_s=float(seconds[here].sum()) if scene in names else 0.0,
            right_s=float(seconds[here & (said == scene)].sum()),
            unknown_s=float(seconds[here & unknown].sum()),
            pairs=int((here & pairs).sum()),
            paired_s=float(gaps[here & pairs].sum()),
            flips=int((here & flips).sum()),
            unknown_flips=int((here & unknown_flips).sum()),
        )
    return found


def pairs_of(pts: Ints, truth: Truth) -> Bools:
    """(N,) bool: the frame shows the same picture as the frame before, both outside of transitions."""
    shots = [truth.shot_at(int(t)) for t in pts]
    # Shots by where they start: a picture may come twice.
    starts = np.array([-1 if shot is None else shot.start_pts for shot in shots], dtype=np.int64)
    return ~differs_from_before(starts) & (starts >= 0) & (np.arange(len(pts)) > 0)


def differs_from_before(values: NDArray[np.int64] | NDArray[np.bool_]) -> Bools:
    """(N,) bool: the value is another than the one before; False for the first."""
    changed = np.zeros(len(values), dtype=np.bool_)
    changed[1:] = values[1:] != values[:-1]
    return changed


def share(part: float, whole: float) -> float | None:
    """Part of a whole, to six digits; None of nothing."""
    return round(part / whole, 6) if whole > 0 else None
