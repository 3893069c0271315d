"""Semantics as PNG files: what is written is what is read, and every damage is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from models.encoding import LabelBase, SemanticMap, scatter_top3
from tools.data.layouts import LAYOUTS
from tools.data.manifest import Entry, ManifestError, picture_size
from tools.data.semantics import SemanticFiles, label_base_of

ENTRY = Entry(2, "val/kitchen/a.jpg", "kitchen")


def some_semantics(height: int = 6, width: int = 9, highest: int = 149) -> SemanticMap:
    random = np.random.default_rng(1)
    labels = random.integers(0, highest + 1, (3, height, width), np.uint8)
    labels[0, 0, 0] = highest
    return SemanticMap(labels, random.integers(0, 256, (3, height, width), np.uint8))


@pytest.fixture
def files(tmp_path: Path) -> SemanticFiles:
    return SemanticFiles(tmp_path, notes={"Segmenter": "ours", "Scales": "300"})


@settings(max_examples=30)
@given(st.data(), st.integers(1, 20), st.integers(1, 20))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, height: int, width: int) -> None:
    labels = data.draw(arrays(np.uint8, (3, height, width), elements=st.integers(0, 149)))
    scores = data.draw(arrays(np.uint8, (3, height, width)))
    files = SemanticFiles(tmp_path_factory.getbasetemp())
    files.write(ENTRY, SemanticMap(labels, scores), LabelBase.ZERO)
    read = files.read(ENTRY, (height, width))
    np.testing.assert_array_equal(read.labels, labels)
    np.testing.assert_array_equal(read.scores, scores)


def test_layout_and_form_of_the_files(files: SemanticFiles, tmp_path: Path) -> None:
    semantics = some_semantics()
    files.write(ENTRY, semantics, LabelBase.ONE)
    assert files.exists(ENTRY) and files.is_written(ENTRY)
    for folder, planes in zip(("noisy_annotations_RGB", "noisy_scores_RGB"), semantics, strict=True):
        with Image.open(tmp_path / folder / "val/kitchen/a.png") as image:
            assert (image.format, image.mode) == ("PNG", "RGB")
            assert image.info == {"LabelBase": "1", "Segmenter": "ours", "Scales": "300"}
            np.testing.assert_array_equal(np.asarray(image)[..., 1], planes[1])
    assert label_base_of(files.note(ENTRY)) is LabelBase.ONE
    assert not list(tmp_path.rglob("*.part"))


def test_ade20k_leaves_images_out(tmp_path: Path) -> None:
    labels, scores = SemanticFiles(tmp_path, LAYOUTS["ade20k"]).paths(Entry(1, "images/training/ADE_train_1.jpg", "a"))
    assert labels == tmp_path / "noisy_annotations_RGB/training/ADE_train_1.png"
    assert scores == tmp_path / "noisy_scores_RGB/training/ADE_train_1.png"


def test_paths_stay_in_the_folder(tmp_path: Path) -> None:
    files = SemanticFiles(tmp_path)
    assert files.paths(Entry(1, "/data/a.jpg", "x"))[0] == tmp_path / "noisy_annotations_RGB/data/a.png"
    with pytest.raises(ManifestError, match="leads out of its folder"):
        files.paths(Entry(1, "../a.jpg", "x"))


def test_one_channel_files_scatter_to_the_same_tensor(tmp_path: Path) -> None:
    labels, scores = (plane[:1] for plane in some_semantics())
    for folder, planes in (("noisy_annotations", labels), ("noisy_scores", scores)):
        path = tmp_path / folder / "val/kitchen/a.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(planes[0]).save(path)
    files = SemanticFiles(tmp_path)
    assert files.exists(ENTRY) and not files.is_written(ENTRY)
    read = files.read(ENTRY, (6, 9))
    expected = np.zeros((152, 6, 9), np.float32)
    np.put_along_axis(expected, labels.astype(int) + 1, scores / np.float32(255), axis=0)
    np.testing.assert_allclose(scatter_top3(read.labels, read.scores), expected)
    assert label_base_of(files.note(ENTRY)) is None


def test_missing_files_are_named(files: SemanticFiles, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"noisy_annotations_RGB/val/kitchen/a\.png is missing; .* precompute"):
        files.read(ENTRY, (6, 9))
    assert files.note(ENTRY) == {}
    files.write(ENTRY, some_semantics(), LabelBase.ZERO)
    files.paths(ENTRY)[1].unlink()
    with pytest.raises(ManifestError, match=r"noisy_scores_RGB/val/kitchen/a\.png is missing"):
        files.read(ENTRY, (6, 9))


def test_another_size(files: SemanticFiles) -> None:
    files.write(ENTRY, some_semantics(), LabelBase.ZERO)
    with pytest.raises(ManifestError, match=r"a\.png is 9x6, its picture 60x48: they do not belong together"):
        files.read(ENTRY, (48, 60))


@pytest.mark.parametrize("kept", [0, 5, 40, 120, -20])
def test_cut_short(files: SemanticFiles, kept: int) -> None:
    files.write(ENTRY, some_semantics(40, 40), LabelBase.ZERO)
    for path in files.paths(ENTRY):
        content = path.read_bytes()
        path.write_bytes(content[:kept])
        with pytest.raises(ManifestError, match=r"a\.png is damaged .*; delete it and run `scene-streamer precompute`"):
            files.read(ENTRY, (40, 40))
        path.write_bytes(content)


def test_a_flipped_byte(files: SemanticFiles) -> None:
    files.write(ENTRY, some_semantics(40, 40), LabelBase.ZERO)
    path = files.paths(ENTRY)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ManifestError, match="damaged"):
        files.read(ENTRY, (40, 40))


def test_no_png_at_all(files: SemanticFiles) -> None:
    files.write(ENTRY, some_semantics(), LabelBase.ZERO)
    Image.new("RGB", (9, 6)).save(files.paths(ENTRY)[0], format="JPEG")
    with pytest.raises(ManifestError, match="damaged"):
        files.read(ENTRY, (6, 9))


@pytest.mark.parametrize("mode", ["RGBA", "I;16", "1", "LA"])
def test_other_modes(files: SemanticFiles, mode: str) -> None:
    files.write(ENTRY, some_semantics(), LabelBase.ZERO)
    Image.new(mode, (9, 6)).save(files.paths(ENTRY)[0], format="PNG")
    with pytest.raises(ManifestError, match=r"not 8-bit RGB"):
        files.read(ENTRY, (6, 9))


def test_labels_out_of_range(files: SemanticFiles) -> None:
    files.write(ENTRY, some_semantics(highest=150), LabelBase.ONE)
    assert files.read(ENTRY, (6, 9)).labels.max() == 150
    files.write(ENTRY, some_semantics(highest=150), LabelBase.ZERO)
    with pytest.raises(ManifestError, match="says that its labels start at 0, but has the label 150"):
        files.read(ENTRY, (6, 9))
    files.write(ENTRY, some_semantics(highest=151), LabelBase.ONE)
    with pytest.raises(ManifestError, match=r"has the label 151; labels are 0\.\.150: is this the PNG of scores"):
        files.read(ENTRY, (6, 9))


def test_files_of_two_runs_do_not_pair(files: SemanticFiles, tmp_path: Path) -> None:
    files.write(ENTRY, some_semantics(), LabelBase.ZERO)
    scores = files.paths(ENTRY)[1].read_bytes()
    SemanticFiles(tmp_path, notes={"Segmenter": "theirs"}).write(ENTRY, some_semantics(), LabelBase.ZERO)
    files.paths(ENTRY)[1].write_bytes(scores)
    with pytest.raises(ManifestError, match="was not made together with"):
        files.read(ENTRY, (6, 9))


def test_size_of_a_turned_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 6)).save(tmp_path / "a.jpg", exif=exif)
    assert picture_size(tmp_path / "a.jpg") == (9, 6)
    (tmp_path / "b.jpg").write_bytes(b"nothing")
    assert picture_size(tmp_path / "b.jpg") is None
    assert picture_size(tmp_path / "c.jpg") is None
