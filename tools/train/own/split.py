"""Which pictures are learnt from, which choose and calibrate, and which give the figures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tools.data.manifest import Entry
from tools.train.data import dev_rows

DEV_SHARE = 0.2  # more than where there are thousands: a tenth of 40 pictures would choose nothing
_SCATTERED = (
    "pictures that belong together are both learnt from and tested on, because {scenes} would have been left without "
    "any of either: the figures flatter; have three or more groups of every scene (days, cameras, places)"
)


@dataclass(frozen=True)
class Split:
    """Positions in the list of entries, (N,) int64 each."""

    train: NDArray[np.int64]
    dev: NDArray[np.int64]
    val: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def split_entries(entries: Sequence[Entry]) -> Split:
    """Set `dev` aside from what is not val; pictures of a group stay together as long as that leaves every scene some.

    The choice depends on the pictures' names alone.
    """
    val = np.array([entry.split == "val" for entry in entries], dtype=bool)
    rest = np.flatnonzero(~val)
    offered = _by_scene([entries[i] for i in rest])
    chosen = dev_rows(tuple(offered), DEV_SHARE)
    notes: tuple[str, ...] = ()
    if lacking := _one_sided(offered, chosen):
        chosen = dev_rows(tuple(replace(entry, group="") for entry in offered), DEV_SHARE)
        if any(entry.group for entry in offered):
            notes = (_SCATTERED.format(scenes=", ".join(lacking)),)
    return Split(rest[~chosen], rest[chosen], np.flatnonzero(val), notes)


def _by_scene(entries: Sequence[Entry]) -> list[Entry]:
    """The entries with their scene as source, so that each scene has its share set aside; not in groups of several."""
    scenes: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        scenes[entry.group].add(entry.scene)
    return [replace(e, source=e.scene if not e.group or len(scenes[e.group]) == 1 else "") for e in entries]


def _one_sided(entries: Sequence[Entry], chosen: NDArray[np.bool_]) -> list[str]:
    """Scenes of which all pictures, or none, were chosen."""
    counts = Counter((entry.scene, bool(dev)) for entry, dev in zip(entries, chosen, strict=True))
    scenes = sorted({entry.scene for entry in entries})
    return [scene for scene in scenes if not (counts[scene, True] and counts[scene, False])]
