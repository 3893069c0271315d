"""The table of public data sets: what is read from miniatures of them, and what is said of files that are amiss."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from paper_data import SCENES, write_dataset

from config.labels import load_labels
from tools.data.layouts import LAYOUTS, SPLITS, overlap, read_layout, read_scene_names
from tools.data.manifest import ManifestError

LISTS = {"ade20k": "ade20k_scenes", "mit67": "mit67", "sun397": "sun397", "places365": "places365"}
PUBLISHED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "labels"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_miniature(name: str, split: str, tmp_path: Path) -> None:
    write_dataset(name, tmp_path, train=2, val=1)
    pictures = read_layout(name, tmp_path, split)
    assert pictures.labels == SCENES[name]
    assert len(pictures) == (6 if split == "train" else 3)
    assert [*dict.fromkeys(entry.scene for entry in pictures.entries)] == list(SCENES[name])
    assert {entry.split for entry in pictures.entries} == {split}
    assert [entry.line for entry in pictures.entries] == list(range(1, len(pictures) + 1))
    assert all(pictures[i].shape[2] == 3 for i in range(len(pictures)))
    assert pictures.targets(pictures.labels).tolist() == sorted(pictures.targets(pictures.labels).tolist())


@pytest.mark.parametrize("name", LAYOUTS)
def test_order_of_the_published_scene_names(name: str, tmp_path: Path) -> None:
    source = (
        PUBLISHED
        / {
            "ade20k": "ade20k_scene_names.txt",
            "mit67": "mit67_scene_names.txt",
            "sun397": "sun397_scene_names.txt",
            "places365": "categories_places365.txt",
        }[name]
    )
    if not source.is_file():
        pytest.skip(f"needs the published scene names in {PUBLISHED}")
    layout = LAYOUTS[name]
    shutil.copy(source, tmp_path / layout.names_file)
    names = read_scene_names(layout, tmp_path)
    assert names == load_labels(LISTS[name]).names
    assert len(names) == layout.scenes


def test_scenes_with_a_sub_level(tmp_path: Path) -> None:
    write_dataset("places365", tmp_path)
    entry = read_layout("places365", tmp_path).entries[2]
    assert entry.path.startswith("val/field-cultivated/")
    assert entry.scene == "field/cultivated"


@pytest.mark.parametrize(
    "line",
    ["val/kitchen/a b 7.jpg", "kitchen/a b 7.jpg", "/val/kitchen/a b 7.jpg", "val/kitchen/a b 7.jpg 1"],
)
def test_spellings_of_a_line(line: str, tmp_path: Path) -> None:
    write_dataset("mit67", tmp_path)
    (tmp_path / "val.txt").write_text(f"\ufeff\n{line}\r\n", encoding="utf-8")
    (entry,) = read_layout("mit67", tmp_path).entries
    assert (entry.path, entry.scene, entry.line) == ("val/kitchen/a b 7.jpg", "kitchen", 2)


def test_a_number_that_belongs_to_the_name(tmp_path: Path) -> None:
    write_dataset("mit67", tmp_path)
    (tmp_path / "val.txt").write_bytes("val/kitchen/caf\u00e9.jpg\n".encode("latin-1"))
    (entry,) = read_layout("mit67", tmp_path).entries
    assert entry.path.encode(errors="surrogateescape") == "val/kitchen/caf\u00e9.jpg".encode("latin-1")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("val/castle/a.jpg", r"val\.txt line 1: scene 'castle' is not one of the 3 in scene_names\.txt"),
        ("a.jpg", "line 1: 'a.jpg' is no line of MIT Indoor 67"),
        ("val/../kitchen/a.jpg", "is no line of MIT Indoor 67"),
        ("val/kitchen/a.jpg 2", "'kitchen' is number 1 in scene_names.txt, not 2; the two files are of different"),
    ],
)
def test_lines_that_make_no_sense(line: str, text: str, tmp_path: Path) -> None:
    write_dataset("mit67", tmp_path)
    (tmp_path / "val.txt").write_text(line + "\n")
    with pytest.raises(ManifestError, match=text):
        read_layout("mit67", tmp_path)


def test_ade20k_lines_need_a_scene(tmp_path: Path) -> None:
    write_dataset("ade20k", tmp_path)
    (tmp_path / "sceneCategories_validation.txt").write_text("ADE_val_00000001\n")
    with pytest.raises(ManifestError, match="expected: 'ADE_val_00000001 abbey'"):
        read_layout("ade20k", tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("/k/kitchen 0\n/o/office 2\n", "numbered 0, 1, 2"),
        ("/k/kitchen 0\n/k/kitchen 1\n", "a scene twice"),
        ("", "no scenes"),
    ],
)
def test_scene_names_that_make_no_sense(content: str, text: str, tmp_path: Path) -> None:
    write_dataset("mit67", tmp_path)
    (tmp_path / "scene_names.txt").write_text(content)
    with pytest.raises(ManifestError, match=text):
        read_layout("mit67", tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no folder .*nowhere; --root is the folder of SUN 397 that has val\.txt"):
        read_layout("sun397", tmp_path / "nowhere")
    with pytest.raises(ManifestError, match=r"val\.txt is missing; expected in .*: train\.txt, val\.txt, scene_names"):
        read_layout("sun397", tmp_path)
    with pytest.raises(ManifestError, match="unknown data set 'sun'; known: ade20k, mit67, sun397, places365"):
        read_layout("sun", tmp_path)
    with pytest.raises(ManifestError, match="has the splits train and val, not 'test'"):
        read_layout("sun397", tmp_path, "test")


def test_a_root_that_is_one_level_off(tmp_path: Path) -> None:
    data = write_dataset("ade20k", tmp_path / "ADEChallenge").root
    for wrong in (tmp_path, data / "images"):
        with pytest.raises(ManifestError, match=f"it lies in {data}: give --root {data}"):
            read_layout("ade20k", wrong)


def test_a_file_in_other_letters(tmp_path: Path) -> None:
    write_dataset("ade20k", tmp_path)
    (tmp_path / "Scene_Names.txt").rename(tmp_path / "scene_names.txt")
    with pytest.raises(ManifestError, match=r"there is 'scene_names\.txt': rename it"):
        read_layout("ade20k", tmp_path)


def test_a_split_without_its_folder(tmp_path: Path) -> None:
    write_dataset("mit67", tmp_path)
    shutil.rmtree(tmp_path / "train")
    assert len(read_layout("mit67", tmp_path, "val")) == 6
    with pytest.raises(ManifestError, match="train is missing"):
        read_layout("mit67", tmp_path, "train")


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_overlap_of_good_lists(name: str, tmp_path: Path) -> None:
    write_dataset(name, tmp_path)
    found = overlap(name, tmp_path)
    assert found is not None and not found and found.shared == 0


def test_equal_lists_overlap(tmp_path: Path) -> None:
    write_dataset("sun397", tmp_path)
    (tmp_path / "train.txt").write_text((tmp_path / "val.txt").read_text().replace("val/", "train/"))
    found = overlap("sun397", tmp_path)
    assert found and found.equal and found.shared == found.train == found.val == 6


def test_pictures_that_only_share_a_name_do_not_overlap(tmp_path: Path) -> None:
    write_dataset("mit67", tmp_path, train=1, val=1)
    for split in SPLITS:
        (path,) = (tmp_path / split / "kitchen").iterdir()
        path.rename(path.with_name("1.jpg"))
        names = tmp_path / f"{split}.txt"
        names.write_text(names.read_text().replace(path.name, "1.jpg"))
    found = overlap("mit67", tmp_path)
    assert found is not None and found.shared == found.compared == 1
    assert not found
    shutil.copy(tmp_path / "val/kitchen/1.jpg", tmp_path / "train/kitchen/1.jpg")
    again = overlap("mit67", tmp_path)
    assert again and not again.equal


def test_one_list_alone_overlaps_with_nothing(tmp_path: Path) -> None:
    write_dataset("mit67", tmp_path)
    (tmp_path / "train.txt").unlink()
    assert overlap("mit67", tmp_path) is None
