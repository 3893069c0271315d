"""The user's pictures: a folder with a folder for each scene, or a table of paths and scenes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from streamer.sources._listing import is_picture, natural_key
from tools.data.manifest import Entry, ManifestError, PictureManifest

FEWEST = 8  # pictures of a scene; with less, nothing can be learnt and measured apart
ENOUGH = 30  # pictures of a scene from which on figures begin to mean something
_LONGEST_NAME = 64
_RESERVED = "unknown"  # what a label says when none of the scenes is believed
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "dev"})
_SHOWN = 5  # names in a message

LAYOUT = "a folder for each scene, with its pictures in it: DIR/kitchen/1.jpg, DIR/office/2.jpg"


class OwnPictures:
    """Pictures with their scenes, checked as far as their names go.

    Args:
        manifest: paths, scenes, and perhaps splits and groups.
        folder: the folder of scenes that they come from, if it was one.
        strangers: files that are no pictures by their names, and were left out.

    Attributes:
        manifest: without the splits that are neither train nor val.
        folder: as given.
        scenes: names of the scenes that are trained, sorted.
        notes: what the user should know, a sentence each.

    Raises:
        ManifestError: fewer than two scenes, too few pictures of one, one picture twice, or an impossible name.
    """

    def __init__(
        self, manifest: PictureManifest, folder: Path | None = None, strangers: Counter[str] | None = None
    ) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.manifest = PictureManifest(manifest.file, manifest.root, self._kept(manifest))
        trained = [entry.scene for entry in self.manifest.entries if entry.split != "val"]
        self.scenes = tuple(sorted(set(trained)))
        if strangers:
            self.notes.append(_strangers_note(strangers))
        check_names(self.scenes)
        _check_once(self.manifest)
        check_counts(self.scenes, trained, self.manifest.file)
        if fresh := sorted({e.scene for e in self.manifest.entries} - set(self.scenes)):
            raise ManifestError(f"{manifest.file}: val has scenes that train does not have: {listed(fresh)}")

    @property
    def has_val(self) -> bool:
        """Whether some pictures are for the figures alone."""
        return any(entry.split == "val" for entry in self.manifest.entries)

    def _kept(self, manifest: PictureManifest) -> tuple[Entry, ...]:
        splits = Counter(entry.split for entry in manifest.entries)
        if set(splits) == {""}:
            return manifest.entries
        if "train" not in splits:
            raise ManifestError(
                f"{manifest.file}: the column split says {listed(sorted(splits))}; it needs `train`, and `val` for "
                "pictures that are kept for the figures; or leave the column out"
            )
        kept = tuple(entry for entry in manifest.entries if entry.split in ("train", "val"))
        if others := len(manifest.entries) - len(kept):
            self.notes.append(f"left out because their split is neither train nor val: {others}")
        return kept


def read_folder(folder: Path) -> OwnPictures:
    """The pictures under `folder`: each folder in it is a scene. Those of one folder further down stay together when
    some are set aside, as they may show one place on one day; hidden files and folders are left out.

    Raises:
        ManifestError: there is no such folder, or it is laid out in another way.
    """
    if not folder.is_dir():
        raise ManifestError(f"no folder at {folder}; --pictures needs {LAYOUT}")
    inside = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural_key)
    if loose := [p.name for p in inside if p.is_file() and is_picture(p)]:
        raise ManifestError(
            f"{folder} has {len(loose)} pictures that lie in no scene's folder ({listed(loose)}); it needs {LAYOUT}"
        )
    scenes = [p for p in inside if p.is_dir()]
    _check_layout(folder, scenes)
    strangers: Counter[str] = Counter()
    entries: list[Entry] = []
    for scene in scenes:
        found = _pictures_under(scene, strangers)
        if not found:
            raise ManifestError(
                f"the folder {scene} has no pictures{_kinds(strangers)}; put some there, or remove it: each folder is "
                "a scene"
            )
        entries += [_entry(path.relative_to(folder)) for path in found]
    return OwnPictures(PictureManifest(folder, folder, tuple(entries)), folder, strangers)


def read_table(file: Path, root: Path | None = None) -> OwnPictures:
    """The pictures of a CSV file with the columns path and scene, and perhaps split (train, val) and group.

    Raises:
        ManifestError: it is no such table.
    """
    return OwnPictures(PictureManifest.read(file, root))


def check_names(scenes: Iterable[str]) -> None:
    """Make sure that scenes can be called so.

    Raises:
        ManifestError: a name that is no label text, or two that look alike.
    """
    seen: dict[str, str] = {}
    for name in scenes:
        if not name.isprintable() or name != name.strip() or len(name) > _LONGEST_NAME:
            raise ManifestError(
                f"a scene cannot be called {name!a}: a name is one line of printable text without spaces at its ends, "
                f"of at most {_LONGEST_NAME} characters; rename it"
            )
        if name.casefold() == _RESERVED:
            raise ManifestError(
                f"a scene cannot be called {name!r}: that is what a label says when no scene is believed; pictures of "
                "other places can be a scene called `other`"
            )
        if (twin := seen.setdefault(name.casefold(), name)) != name:
            raise ManifestError(f"the scenes {twin!r} and {name!r} differ in capitals only; make them one")


def check_counts(scenes: Iterable[str], pictures: Iterable[str], where: Path) -> None:
    """Make sure that there are scenes enough, and pictures of each; `pictures` are their scenes, one a picture.

    Raises:
        ManifestError: fewer than two scenes, or than `FEWEST` pictures of one.
    """
    counts = dict.fromkeys(scenes, 0) | Counter(pictures)
    if len(counts) < 2:
        only = ", ".join(counts) or "none"
        raise ManifestError(f"{where} has fewer than two scenes ({only}); it needs {LAYOUT}")
    if few := {scene: count for scene, count in sorted(counts.items()) if count < FEWEST}:
        scene, count = next(iter(few.items()))
        more = "" if len(few) == 1 else f" (and {len(few) - 1} more scenes have too few: {listed(list(few)[1:])})"
        raise ManifestError(
            f"scene {scene!r} has {count} picture{'' if count == 1 else 's'} to learn from; {FEWEST} is the least and "
            f"{ENOUGH} a start{more}: add pictures, or leave the scene out"
        )


def few_notes(counts: dict[str, int]) -> list[str]:
    """A sentence for the scenes with so few pictures that one should not expect much."""
    few = {scene: count for scene, count in counts.items() if count < ENOUGH}
    if not few:
        return []
    words = ", ".join(f"{scene} {count}" for scene, count in few.items())
    return [
        f"few pictures ({words}): under {ENOUGH} a scene its figures rest on a handful of pictures and mean little; "
        "add some from other days, places in the room and light"
    ]


def listed(names: Iterable[str]) -> str:
    """The first names in words."""
    names = list(names)
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name if name else repr(name) for name in names[:_SHOWN]) + rest


def _check_once(manifest: PictureManifest) -> None:
    """A picture that is there twice would be learnt from and tested on."""
    lines: dict[str, int] = {}
    for entry in manifest.entries:
        if (first := lines.setdefault(entry.path, entry.line)) != entry.line:
            raise ManifestError(
                f"{manifest.file} lines {first} and {entry.line}: {entry.path} is there twice; keep one of them"
            )


def _check_layout(folder: Path, scenes: list[Path]) -> None:
    if not scenes:
        raise ManifestError(f"{folder} has no folders; it needs {LAYOUT}")
    if all(p.name.lower() in _SPLITS for p in scenes):
        raise ManifestError(
            f"{folder} is divided into {listed(p.name for p in scenes)}, which would be taken for scenes; give one of "
            f"these folders as --pictures, or a table with the column split as --manifest"
        )
    if len(scenes) == 1 and (below := sorted(p.name for p in scenes[0].iterdir() if p.is_dir())):
        hint = f"; did you mean --pictures {scenes[0]}, with {listed(below)}?" if len(below) > 1 else ""
        raise ManifestError(f"{folder} has one folder only, {scenes[0].name}, so there is one scene{hint}")


def _entry(path: Path) -> Entry:
    return Entry(0, str(path), path.parts[0], group=str(path.parent) if len(path.parts) > 2 else "")


def _pictures_under(scene: Path, strangers: Counter[str]) -> list[Path]:
    found = []
    for place, folders, files in os.walk(scene):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(place) / name for name in files if not name.startswith(".")):
            if is_picture(path):
                found.append(path)
            else:
                strangers[path.suffix.lower() or path.name] += 1
    return sorted(found, key=natural_key)


def _strangers_note(strangers: Counter[str]) -> str:
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in strangers.most_common(_SHOWN))
    heic = "; export HEIC pictures as JPEG" if strangers.keys() & {".heic", ".heif"} else ""
    return f"left out because they are no pictures by their names: {kinds}{heic}"


def _kinds(strangers: Counter[str]) -> str:
    return f" ({_strangers_note(strangers)})" if strangers else ""
