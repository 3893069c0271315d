"""The fixed list of walkthroughs: drawn once from a seed, made once, found again by their names.

`val` is for figures; `dev`, the part of the training pictures that training sets aside, is for choosing settings.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Literal

from tools.data.manifest import PictureManifest
from tools.train.data import dev_rows
from tools.walkthrough.dealing import deal_scenes, pictures_by_scene
from tools.walkthrough.planning import Walkthrough, Wishes, plan
from tools.walkthrough.rendering import check_pictures, picture_reader
from tools.walkthrough.timing import TransitionKind
from tools.walkthrough.truth import truth_path
from tools.walkthrough.writing import Progress, write_walkthrough

Part = Literal["dev", "val"]

_DEV_SHARE = 0.1  # of the training pictures, as the recipes have it
_MOST_PICTURES = 6  # of a segment; as long as a scene has more unused ones, none comes twice in the list


@dataclass(frozen=True, slots=True)
class Plan:
    """What the list is made of; another one is another list.

    Attributes:
        part: which pictures.
        segments: how many in all.
        per_video: segments of a video.
        segment_seconds: length of each.
        size: width and height of the frames in pixels.
        fps: frames per second.
        transitions: kinds to draw from.
        seed: of everything that is random.
    """

    part: Part = "val"
    segments: int = 60
    per_video: int = 6
    segment_seconds: Fraction = Fraction(20)
    size: tuple[int, int] = (640, 360)
    fps: Fraction = Fraction(15)
    transitions: tuple[TransitionKind, ...] = ("cut", "dissolve", "slow")
    seed: int = 0


def pictures_of(part: Part, manifest: Path, root: Path | None) -> PictureManifest:
    """The pictures of a part: split `val`, or what training sets aside of split `train`.

    Raises:
        ManifestError: the table is missing or faulty, or has no such split.
    """
    if part == "val":
        return PictureManifest.read(manifest, root, "val")
    train = PictureManifest.read(manifest, root, "train")
    chosen = dev_rows(train.entries, _DEV_SHARE)
    kept = tuple(entry for entry, is_dev in zip(train.entries, chosen, strict=True) if is_dev)
    return PictureManifest(train.file, train.root, kept)


def draw_list(pictures: PictureManifest, wanted: Plan) -> list[Walkthrough]:
    """The walkthroughs of the list; every scene comes as often as any other, give or take one.

    Raises:
        ManifestError: a scene has too few pictures.
    """
    unused = pictures_by_scene(pictures)
    everything = {scene: list(paths) for scene, paths in unused.items()}
    scenes = deal_scenes(list(unused), wanted.segments, Random(wanted.seed))
    found = []
    for start in range(0, len(scenes), wanted.per_video):
        here = scenes[start : start + wanted.per_video]
        pool = {s: unused[s] if len(unused[s]) > _MOST_PICTURES else everything[s] for s in dict.fromkeys(here)}
        wishes = Wishes(
            segments=len(here),
            segment_seconds=wanted.segment_seconds,
            size=wanted.size,
            fps=wanted.fps,
            transitions=wanted.transitions,
            seed=1000 * wanted.seed + start,
        )
        walk = plan(pool, wishes)
        shown = {shot.picture for shot in walk.shots}
        for scene in pool:
            unused[scene] = [path for path in unused[scene] if path not in shown]
        found.append(walk)
    return found


def make_list(
    walks: Sequence[Walkthrough],
    pictures: PictureManifest,
    videos: Sequence[Path],
    on_progress: Progress | None = None,
    interrupted: threading.Event | None = None,
) -> None:
    """Write the videos that are not there yet, each with its truth.

    Raises:
        ManifestError: a picture is missing or cannot be read.
        OutputError: a file cannot be written.
        KeyboardInterrupt: `interrupted` was set; finished videos stay.
    """
    read = picture_reader(pictures)
    total, before = sum(len(walk.pts) for walk in walks), 0
    for walk, video in zip(walks, videos, strict=True):
        if not (video.is_file() and truth_path(video).is_file()):
            check_pictures(walk, pictures)
            write_walkthrough(walk, read, video, _shifted(on_progress, before, total), interrupted)
        before += len(walk.pts)


def video_names(folder: Path, wanted: Plan, count: int) -> list[Path]:
    """`DIR/val-00.mp4` and so on."""
    return [folder / f"{wanted.part}-{number:02d}.mp4" for number in range(count)]


def _shifted(on_progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one video as progress of the list."""
    return None if on_progress is None else lambda done, _: on_progress(before + done, total)
