"""The four public data sets of the reference method, as their downloads lie on disk: one table, one reader.

ROOT/images/{training,validation}/*.jpg    ADE20K: sceneCategories_{training,validation}.txt, Scene_Names.txt
ROOT/{train,val}/<scene>/*.jpg             MIT Indoor 67, SUN 397: train.txt, val.txt, scene_names.txt
                                           Places365: train.txt, val.txt, categories_places365.txt
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from tools.data.manifest import Entry, ManifestError, PictureManifest

SPLITS = ("train", "val")

_COMPARED = 32  # pictures of the same name in both splits whose bytes are compared
_NUMBERED = re.compile(r"(?P<name>.*\S)\s+(?P<number>\d+)")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the download of one data set has what.

    Attributes:
        name: as `--dataset` has it.
        title: for people.
        scenes: number of classes of the published data set.
        lists: the file that lists the pictures of a split, by split.
        folders: the folder of a split's pictures, by split.
        names_file: the scenes, in the order of the class index.
        lines: "path" (`val/kitchen/int474.jpg`) or "name scene" (`ADE_val_00000001 abbey`).
        short_side: pixels that pictures are resized to before they are cropped; None leaves them as they are.
        sublevel: what stands between a scene and its sub-level in the names ("field-cultivated"); folders have a dash.
        bare: a leading folder that the paths of semantics leave out.
    """

    name: str
    title: str
    scenes: int
    lists: Mapping[str, str]
    folders: Mapping[str, str]
    names_file: str
    lines: Literal["path", "name scene"] = "path"
    short_side: int | None = 256
    sublevel: str = "-"
    bare: str = ""


_LISTS = {"train": "train.txt", "val": "val.txt"}
_FOLDERS = {"train": "train", "val": "val"}
_ROWS = (
    Layout(
        "ade20k",
        "ADE20K",
        1055,
        {"train": "sceneCategories_training.txt", "val": "sceneCategories_validation.txt"},
        {"train": "images/training", "val": "images/validation"},
        "Scene_Names.txt",
        lines="name scene",
        bare="images",
    ),
    Layout("mit67", "MIT Indoor 67", 67, _LISTS, _FOLDERS, "scene_names.txt"),
    Layout("sun397", "SUN 397", 397, _LISTS, _FOLDERS, "scene_names.txt"),
    Layout("places365", "Places365", 365, _LISTS, _FOLDERS, "categories_places365.txt", short_side=None, sublevel="/"),
)
LAYOUTS: dict[str, Layout] = {row.name: row for row in _ROWS}


def find_layout(name: str) -> Layout:
    """The layout of the data set `name`.

    Raises:
        ManifestError: there is no such data set; the message says which there are.
    """
    if name not in LAYOUTS:
        raise ManifestError(f"unknown data set {name!r}; known: {', '.join(LAYOUTS)}; or give a table with --manifest")
    return LAYOUTS[name]


def read_layout(name: str, root: Path, split: str = "val") -> PictureManifest:
    """The pictures of one split of a public data set, with the scenes in the order that checkpoints use.

    Paths are relative to `root`; an entry's line is its line in the list file.

    Raises:
        ManifestError: an unknown data set or split, a file that is not where it should be (the message says what was
            expected where, and where it was found), or a line that cannot be read.
    """
    layout = find_layout(name)
    if split not in SPLITS:
        raise ManifestError(f"{layout.title} has the splits {' and '.join(SPLITS)}, not {split!r}")
    file = _expected(layout, root, layout.lists[split])
    labels = read_scene_names(layout, root)
    _expected(layout, root, layout.folders[split])
    entries = tuple(_entries(layout, file, split, labels))
    if not entries:
        raise ManifestError(f"{file} is empty; it should list the {split} pictures of {layout.title}")
    return PictureManifest(file, root, entries, labels)


def read_scene_names(layout: Layout, root: Path) -> tuple[str, ...]:
    """The scenes of a data set under `root`, in the order of the class index.

    Raises:
        ManifestError: the file is missing, names a scene twice, or its numbers are not 0, 1, 2...
    """
    file = _expected(layout, root, layout.names_file)
    numbered = [_name_and_number(text, position) for position, (_, text) in enumerate(_lines(file))]
    scenes = sorted(numbered, key=lambda pair: pair[1])
    if [number for _, number in scenes] != list(range(len(scenes))):
        raise ManifestError(f"{file}: the scenes must be numbered 0, 1, 2... without a gap; get the file again")
    names = tuple(_scene_name(layout, name) for name, _ in scenes)
    if not names or len(set(names)) < len(names):
        raise ManifestError(f"{file} has {'a scene twice' if names else 'no scenes'}; get the file again")
    return names


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far the two splits of a data set name the same pictures.

    Attributes:
        shared: pictures (scene and file name) that both lists have.
        train, val: pictures in each list.
        compared: how many of the shared ones were compared byte by byte, being there in both folders.
        identical: how many of those were equal.
    """

    shared: int
    train: int
    val: int
    compared: int
    identical: int

    @property
    def equal(self) -> bool:
        """Whether both lists name the very same pictures."""
        return bool(self) and self.shared == self.train == self.val

    def __bool__(self) -> bool:
        # Names alone may coincide ("0001.jpg" in both folders); equal bytes, or one file for both, do not.
        return self.shared > 0 and (self.compared == 0 or self.identical > 0)


def overlap(name: str, root: Path) -> Overlap | None:
    """Compare the lists of both splits; None where only one of them is there.

    The reference's lists of SUN 397 name the same pictures twice: a figure from such lists is no accuracy.
    """
    layout = find_layout(name)
    if not all((root / file).is_file() for file in layout.lists.values()):
        return None
    labels = read_scene_names(layout, root)
    by_split = {
        split: {_identity(entry, layout): entry.path for entry in _entries(layout, root / file, split, labels)}
        for split, file in layout.lists.items()
    }
    train, val = by_split["train"], by_split["val"]
    shared = sorted(train.keys() & val.keys())
    step = max(1, len(shared) // _COMPARED)
    pairs = [(root / train[key], root / val[key]) for key in shared[::step]]
    both = [(one, other) for one, other in pairs if one.is_file() and other.is_file()]
    identical = sum(one.read_bytes() == other.read_bytes() for one, other in both)
    return Overlap(len(shared), len(train), len(val), len(both), identical)


def _identity(entry: Entry, layout: Layout) -> tuple[str, str]:
    # The split's own folder is left out: `train/abbey/a.jpg` and `val/abbey/a.jpg` are the same picture.
    name = PurePosixPath(entry.path).name
    return (entry.scene if layout.lines == "path" else "", name)


def _entries(layout: Layout, file: Path, split: str, labels: Sequence[str]) -> Iterator[Entry]:
    scenes = {_folder_name(label): index for index, label in enumerate(labels)}
    read = _read_path if layout.lines == "path" else _read_name_and_scene
    for line, text in _lines(file):
        path, folder, number = read(layout, split, text)
        if not path or ".." in PurePosixPath(path).parts:
            raise ManifestError(
                f"{file} line {line}: {text!r} is no line of {layout.title} ({_example(layout, split)})"
            )
        if folder not in scenes:
            raise ManifestError(
                f"{file} line {line}: scene {folder!r} is not one of the {len(labels)} in {layout.names_file}"
            )
        if number is not None and number != scenes[folder]:
            raise ManifestError(
                f"{file} line {line}: scene {folder!r} is number {scenes[folder]} in {layout.names_file}, "
                f"not {number}; the two files are of different releases"
            )
        yield Entry(line, path, labels[scenes[folder]], split)


def _read_path(layout: Layout, split: str, text: str) -> tuple[str, str, int | None]:
    """`val/kitchen/int474.jpg`, with or without the split's folder, with or without a class number at the end."""
    found = _NUMBERED.fullmatch(text)
    # A number belongs to the file's name unless what stands before it is a whole name ("int 474.jpg" has none).
    named = found is not None and PurePosixPath(found["name"]).suffix != ""
    path = PurePosixPath((found["name"] if found and named else text).lstrip("/"))
    if path.parts[0] not in layout.folders.values():
        path = PurePosixPath(layout.folders[split]) / path
    folder = "-".join(path.parts[1:-1])
    return str(path) if folder else "", folder, int(found["number"]) if found and named else None


def _read_name_and_scene(layout: Layout, split: str, text: str) -> tuple[str, str, int | None]:
    """`ADE_val_00000001 abbey`."""
    name, _, scene = text.partition(" ")
    if not scene.strip():
        return "", "", None
    return f"{layout.folders[split]}/{name.removesuffix('.jpg')}.jpg", _folder_name(scene.strip()), None


def _example(layout: Layout, split: str) -> str:
    example = f"{layout.folders[split]}/kitchen/a.jpg" if layout.lines == "path" else "ADE_val_00000001 abbey"
    return f"expected: {example!r}"


def _name_and_number(text: str, position: int) -> tuple[str, int]:
    found = _NUMBERED.fullmatch(text)
    return (found["name"], int(found["number"])) if found else (text, position)


def _folder_name(scene: str) -> str:
    """`/f/field/cultivated`, `field/cultivated` -> `field-cultivated`."""
    if len(scene) > 3 and scene[0] == "/" and scene[2] == "/":
        scene = scene[3:]
    return scene.replace("/", "-")


def _scene_name(layout: Layout, scene: str) -> str:
    """`/f/field/cultivated` as the project's list of that data set spells it."""
    if len(scene) > 3 and scene[0] == "/" and scene[2] == "/":
        scene = scene[3:]
    return scene.replace("/", layout.sublevel)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    # Names of files are bytes; those that are no UTF-8 pass through unharmed.
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        for line, text in enumerate(stream, start=1):
            if text.strip():
                yield line, text.strip()


def _expected(layout: Layout, root: Path, relative: str) -> Path:
    """ROOT/relative, or a ManifestError that says where it was found instead."""
    path = root / relative
    if path.exists():
        return path
    if not root.is_dir():
        raise ManifestError(f"no folder {root}; --root is the folder of {layout.title} that has {relative}")
    raise ManifestError(f"{layout.title}: {path} is missing; {_whereabouts(root, relative, layout)}")


def _whereabouts(root: Path, relative: str, layout: Layout) -> str:
    for other in (root.resolve().parent, *sorted(child for child in root.iterdir() if child.is_dir())):
        if (other / relative).exists():
            return f"it lies in {other}: give --root {other}"
    folder = (root / relative).parent
    alike = (
        [p.name for p in folder.iterdir() if p.name.lower() == Path(relative).name.lower()] if folder.is_dir() else []
    )
    if alike:
        return f"there is {alike[0]!r}: rename it"
    wanted = ", ".join([*layout.lists.values(), layout.names_file, *(f"{f}/" for f in layout.folders.values())])
    return f"expected in {root}: {wanted}"
