"""The lists that the layout of a data set needs and its download may lack.

The reference's authors keep their lists beside their code, not in every archive. What the pictures on disk say by
themselves is written anew: the split by their folders, the scenes by the packaged label lists. A list that is there
is never touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from config.labels import load_labels
from streamer.files import PendingFile, output_errors
from tools.data.layouts import Layout

_LABELS = {"ade20k": "ade20k_scenes"}  # others are called as their data set
_ADE20K_SCENES = "sceneCategories.txt"  # of the official archive: both splits in one file
_ADE20K_PREFIX = {"train": "ADE_train_", "val": "ADE_val_"}
_PICTURES = (".jpg", ".jpeg", ".png")


def complete_lists(layout: Layout, root: Path) -> list[Path]:
    """Write the lists of `layout` that `root` lacks and that can be made; give those that were written.

    Raises:
        OutputError: one cannot be written.
    """
    wanted = {root / layout.names_file: _scene_names(layout)}
    for split, name in layout.lists.items():
        wanted[root / name] = _from_scenes(root, split) if layout.lines == "name scene" else _walk(root, layout, split)
    made = []
    for path, lines in wanted.items():
        if not path.exists() and (text := "".join(f"{line}\n" for line in lines)):
            _write(path, text)
            made.append(path)
    return made


def _scene_names(layout: Layout) -> Iterator[str]:
    names = load_labels(_LABELS.get(layout.name, layout.name)).names
    for number, name in enumerate(names):
        yield name if layout.lines == "name scene" else f"/{name[0]}/{name} {number}"


def _from_scenes(root: Path, split: str) -> Iterator[str]:
    file = root / _ADE20K_SCENES
    if not file.is_file():
        return
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            if line.startswith(_ADE20K_PREFIX[split]):
                yield line.strip()


def _walk(root: Path, layout: Layout, split: str) -> Iterator[str]:
    folder = root / layout.folders[split]
    if not folder.is_dir():
        return
    for scene in sorted(path for path in folder.iterdir() if path.is_dir()):
        for picture in sorted(scene.iterdir()):
            if picture.suffix.lower() in _PICTURES:
                yield picture.relative_to(root).as_posix()


def _write(path: Path, text: str) -> None:
    pending = PendingFile(path)
    try:
        with output_errors(path):
            pending.path.write_text(text, encoding="utf-8", errors="surrogateescape")
        pending.commit()
    finally:
        pending.discard()
