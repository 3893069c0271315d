"""Whether a data set on disk is whole: every picture of its lists, and its precomputed semantics, where they belong."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from config.labels import load_labels
from tools.data.layouts import SPLITS, Layout, find_layout, read_layout, read_scene_names
from tools.data.manifest import Entry, ManifestError, PictureManifest
from tools.data.semantics import LABELS_FOLDER, OLD_LABELS_FOLDER, OLD_SCORES_FOLDER, SCORES_FOLDER, SemanticFiles

Progress = Callable[[int, int | None], None]

SEMANTIC_FOLDERS = (LABELS_FOLDER, SCORES_FOLDER, OLD_LABELS_FOLDER, OLD_SCORES_FOLDER)


@dataclass
class SplitReport:
    """What was found of one split.

    Attributes:
        split: "train" or "val".
        listed: pictures in its list.
        pictures: of them, those that are there.
        semantics: of them, those with sound semantics; None where nobody asked.
        faults: one line for each that is missing or wrong: what was expected where.
    """

    split: str
    listed: int = 0
    pictures: int = 0
    semantics: int | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is missing or wrong."""
        return not self.faults


def check_dataset(
    name: str,
    root: Path,
    *,
    splits: Sequence[str] = SPLITS,
    semantics: Collection[str] = (),
    progress: Callable[[str], Progress] | None = None,
) -> list[SplitReport]:
    """Check a data set: a report for each split.

    Pictures must be there and not empty; semantics must be there and of their picture's size, by what the files' heads
    say. A list that is missing or cannot be read is the only fault of its split.

    Args:
        name: of the data set.
        root: its folder.
        splits: which to check.
        semantics: the splits whose semantics are checked too.
        progress: given the split, what to call with the number of pictures done and in all.

    Raises:
        ManifestError: no such data set, or no folder `root`.
    """
    layout = find_layout(name)
    if not root.is_dir():
        raise ManifestError(f"no folder {root}; --root is the folder of {layout.title}")
    reports = []
    for split in splits:
        try:
            pictures = read_layout(name, root, split)
        except ManifestError as error:
            reports.append(SplitReport(split, faults=[str(error)]))
            continue
        files = SemanticFiles(root, layout) if split in semantics else None
        reports.append(_check_split(split, layout, pictures, files, progress(split) if progress else None))
    return reports


def _check_split(
    split: str, layout: Layout, pictures: PictureManifest, files: SemanticFiles | None, progress: Progress | None
) -> SplitReport:
    report = SplitReport(split, len(pictures), semantics=None if files is None else 0)
    missing: list[Path] = []
    for index, entry in enumerate(pictures.entries):
        path = pictures.path(index)
        if not path.is_file():
            missing.append(path)
        elif path.stat().st_size == 0:
            report.faults.append(f"{path} is empty: get it again")
        else:
            report.pictures += 1
            if files is not None and (fault := _semantic_fault(files, entry, path)):
                report.faults.append(fault)
            elif report.semantics is not None:
                report.semantics += 1
        if progress is not None:
            progress(index + 1, len(pictures))
    report.faults += _missing_faults(missing, pictures.root, layout)
    return report


def _missing_faults(missing: Sequence[Path], root: Path, layout: Layout) -> list[str]:
    """A line for each missing picture, with where a picture of its name was found instead."""
    if not missing:
        return []
    # Names of ADE20K are unique; elsewhere the same name in another scene's folder is another picture.
    parts = 1 if layout.lines == "name scene" else 2
    elsewhere = _found_elsewhere({path.parts[-parts:] for path in missing}, root, parts)
    faults = []
    for path in missing:
        found = elsewhere.get(path.parts[-parts:])
        faults.append(f"{path} is missing" + (f"; a picture of that name is at {found}" if found else ""))
    return faults


def _found_elsewhere(ends: set[tuple[str, ...]], root: Path, parts: int) -> dict[tuple[str, ...], Path]:
    found: dict[tuple[str, ...], Path] = {}
    for folder, inner, files in os.walk(root):
        if Path(folder) == root:
            inner[:] = sorted(name for name in inner if name not in SEMANTIC_FOLDERS and not name.startswith("."))
        for name in files:
            path = Path(folder, name)
            if path.parts[-parts:] in ends:
                found.setdefault(path.parts[-parts:], path)
    return found


def _semantic_fault(files: SemanticFiles, entry: Entry, picture: Path) -> str | None:
    pair = _pair(files, entry)
    absent = [path for path in pair if not path.is_file()]
    if absent:
        return f"{absent[0]} is missing"
    size = _size(picture)
    if size is None:
        return f"{picture} is no picture that can be read"
    for path in pair:
        found = _size(path)
        if found is None:
            return f"{path} is no PNG that can be read: get it again"
        if found != size:
            return f"{path} is {found[0]}x{found[1]}, its picture {picture} is {size[0]}x{size[1]}"
    return None


def _pair(files: SemanticFiles, entry: Entry) -> tuple[Path, Path]:
    """The labels and scores of a picture: those of three channels, unless only the older ones are there."""
    labels, scores = files.paths(entry)
    old_labels = files.folder / OLD_LABELS_FOLDER / labels.relative_to(files.folder / LABELS_FOLDER)
    old_scores = files.folder / OLD_SCORES_FOLDER / scores.relative_to(files.folder / SCORES_FOLDER)
    new_there = labels.is_file() or scores.is_file()
    return (old_labels, old_scores) if not new_there and old_labels.is_file() else (labels, scores)


def _size(path: Path) -> tuple[int, int] | None:
    """(width, height) by the file's head."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError):
        return None


# ------------------------------------------------------------------ at a glance


@dataclass(frozen=True, slots=True)
class Presence:
    """What of a data set is in a folder, at a glance: its lists and folders are looked for, not its pictures.

    Attributes:
        here: "yes", "partly", "no".
        missing: what is not there, where something is.
        semantics: the splits for which there is a folder of semantics.
    """

    here: str
    missing: tuple[str, ...] = ()
    semantics: tuple[str, ...] = ()


def presence(layout: Layout, root: Path) -> Presence:
    """Look for a data set in `root`; data sets of the same layout are told apart by their scenes."""
    wanted = [layout.names_file, *layout.lists.values(), *layout.folders.values()]
    missing = tuple(name for name in wanted if not (root / name).exists())
    if len(missing) == len(wanted) or not _has_its_scenes(layout, root):
        return Presence("no")
    covered = tuple(
        split
        for split in SPLITS
        if any((root / folder / Path(layout.folders[split]).name).is_dir() for folder in SEMANTIC_FOLDERS)
    )
    return Presence("partly" if missing else "yes", missing, covered)


def _has_its_scenes(layout: Layout, root: Path) -> bool:
    try:
        names = read_scene_names(layout, root)
    except ManifestError:
        return layout.lines == "name scene" and (root / "images").is_dir()
    known = load_labels("ade20k_scenes" if layout.name == "ade20k" else layout.name)
    return set(names) <= set(known.names)
