"""Miniatures of the four public data sets: the layout of the real ones, a few generated pictures of three scenes.

The number of classes is what the miniature's own scene-name file says, so that networks in tests are small at the end.
A scene has a colour, and a semantic class to go with it, so that a network can learn either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from models.encoding import LabelBase, SemanticMap
from tools.data.layouts import LAYOUTS, SPLITS, Layout, read_layout
from tools.data.semantics import SemanticFiles

# As the projects' label lists spell them; the second has a sub-level where the data set knows such.
SCENES = {
    "ade20k": ("beach", "kitchen", "street"),
    "mit67": ("bathroom", "kitchen", "office"),
    "sun397": ("abbey", "field-cultivated", "kitchen"),
    "places365": ("airfield", "field/cultivated", "kitchen"),
}
COLOURS = ((210, 60, 50), (50, 190, 60), (60, 70, 210))  # RGB, of the scenes in their order
LABELS = (17, 70, 149)  # base 0, of the scenes in their order: the best class of most of their pixels


@dataclass(frozen=True)
class MiniDataset:
    """A data set that was written.

    Attributes:
        name: as `--dataset` has it.
        root: its folder.
        scenes: their names, in the order of the class index.
    """

    name: str
    root: Path
    scenes: tuple[str, ...]

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.name]


def write_dataset(
    name: str, root: Path, *, train: int = 2, val: int = 2, size: tuple[int, int] | None = None, seed: int = 0
) -> MiniDataset:
    """Write a miniature of the data set `name` into `root`: `train` and `val` pictures a scene.

    `size` is (height, width); by default 256x256 for Places365, whose pictures keep their size, and 48x60 for others.
    """
    layout, scenes = LAYOUTS[name], SCENES[name]
    root.mkdir(parents=True, exist_ok=True)
    (root / layout.names_file).write_text("".join(f"{line}\n" for line in _name_lines(name)), encoding="utf-8")
    random = np.random.default_rng(seed)
    for split, count in zip(SPLITS, (train, val), strict=True):
        lines = []
        for scene in range(len(scenes)):
            for number in range(count):
                path, line = _picture(layout, split, scenes[scene], number + scene * count)
                _write_picture(root / path, scene, size or _default_size(name), random)
                lines.append(line)
        (root / layout.folders[split]).mkdir(parents=True, exist_ok=True)
        (root / layout.lists[split]).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return MiniDataset(name, root, scenes)


def write_semantics(
    dataset: MiniDataset, base: LabelBase = LabelBase.ZERO, folder: Path | None = None
) -> SemanticFiles:
    """Write semantics of all pictures of a miniature, three channels, into its root unless `folder` is given."""
    files = SemanticFiles(folder or dataset.root, dataset.layout)
    for split in SPLITS:
        pictures = read_layout(dataset.name, dataset.root, split)
        for index, entry in enumerate(pictures.entries):
            height, width = pictures[index].shape[:2]
            files.write(entry, semantics_of(dataset.scenes.index(entry.scene), height, width, base), base)
    return files


def semantics_of(scene: int, height: int, width: int, base: LabelBase = LabelBase.ZERO) -> SemanticMap:
    """The semantics of a picture of the `scene`-th scene: its class at 0.7 but for a strip, then wall and building."""
    labels = np.empty((3, height, width), np.uint8)
    labels[:] = np.array([LABELS[scene], 0, 1], np.uint8)[:, None, None] + int(base)
    labels[0, : height // 4], labels[1, : height // 4] = int(base), LABELS[scene] + int(base)
    scores = np.empty_like(labels)
    scores[:] = np.array([178, 51, 13], np.uint8)[:, None, None]
    return SemanticMap(labels, scores)


def _default_size(name: str) -> tuple[int, int]:
    return (256, 256) if LAYOUTS[name].short_side is None else (48, 60)


def _name_lines(name: str) -> list[str]:
    if name == "ade20k":
        return list(SCENES[name])
    return [f"/{scene[0]}/{scene.replace('-', '/')} {index}" for index, scene in enumerate(SCENES[name])]


def _picture(layout: Layout, split: str, scene: str, number: int) -> tuple[str, str]:
    """Path under the root, and the line of the list."""
    if layout.lines == "name scene":
        name = f"ADE_{split}_{number:08d}"
        return f"{layout.folders[split]}/{name}.jpg", f"{name} {scene}"
    path = f"{layout.folders[split]}/{scene.replace('/', '-')}/{split}_{number}.jpg"
    return path, path


def _write_picture(path: Path, scene: int, size: tuple[int, int], random: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = random.integers(-40, 41, (*size, 3))
    pixels = (np.array(COLOURS[scene]) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
