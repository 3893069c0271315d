"""The packaged model on real pictures, clips and masks that were never trained on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import load_recognizer
from models.package import find_package
from models.recognizer import Recognizer
from tools.data.manifest import PictureManifest
from tools.evaluation import evaluate_pictures

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDER = Path(__file__).resolve().parents[2] / "models" / "zoo" / "scene18"

needs_data = pytest.mark.skipif(not (DATA / "scenes.csv").is_file(), reason=f"real pictures are not at {DATA}")

# CamVid's hand-made classes -> ADE20K ids that the segmenter knows
CAMVID_TO_ADE20K = {0: 3, 1: 2, 3: 7, 4: 12, 5: 5, 8: 21, 9: 13}


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return load_recognizer("scene18", backend="openvino")


def rgb(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def test_files_are_what_the_manifest_says():
    package = find_package("scene18")
    assert list(package.labels) == sorted(package.labels)
    assert len(package.labels) == 18
    assert package.path("weights").stat().st_size <= 15_000_000
    assert package.path("graph").is_file()
    assert set(json.loads((FOLDER / "model.json").read_text())) == {
        "name", "version", "segmenter", "classifier", "preprocess", "labels", "semantic_classes", "groups",
        "calibration", "files",
    }  # fmt: skip


def test_backends_agree(recognizer: Recognizer):
    other = load_recognizer("scene18", backend="torch", device="cpu")
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = cv2.resize(small, (400, 300), interpolation=cv2.INTER_CUBIC)
    ours, theirs = recognizer.predict(picture), other.predict(picture)
    assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-3)
    assert ours.class_map is not None
    assert (ours.class_map == theirs.class_map).mean() > 0.995


@needs_data
def test_sample_of_val(recognizer: Recognizer):
    """Every 12th picture of val; the whole of it is `scene-streamer evaluate`'s task."""
    manifest = PictureManifest.read(DATA / "scenes.csv", split="val")
    sample = PictureManifest(manifest.file, manifest.root, manifest.entries[::12])
    assert evaluate_pictures(recognizer, sample).summary()["top1"] >= 0.85


@needs_data
def test_highway_clip_is_a_highway(recognizer: Recognizer):
    capture = cv2.VideoCapture(str(DATA / "videos" / "udacity_solidWhiteRight.mp4"))
    scenes = []
    while (frame := capture.read())[0]:
        if int(capture.get(cv2.CAP_PROP_POS_FRAMES)) % 5 == 0:
            scenes.append(recognizer.predict(cv2.cvtColor(frame[1], cv2.COLOR_BGR2RGB)).scene)
    capture.release()
    assert len(scenes) > 30
    assert scenes.count("highway") >= 0.9 * len(scenes)


@needs_data
def test_class_map_agrees_with_masks_made_by_hand(recognizer: Recognizer):
    """Share of CamVid's pixels of seven classes that get their ADE20K id, on every 4th picture."""
    right = total = 0
    for mask_path in sorted((DATA / "camvid" / "val").glob("*_mask.png"))[::4]:
        mask = cv2.imread(str(mask_path), cv2.IMREAD_UNCHANGED)
        picture = next(p for p in mask_path.parent.glob(f"{mask_path.name.removesuffix('_mask.png')}.*"))
        class_map = recognizer.predict(rgb(picture)).class_map
        assert class_map is not None
        larger = cv2.resize(class_map, mask.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        for camvid, ade20k in CAMVID_TO_ADE20K.items():
            right += int((larger[mask == camvid] == ade20k).sum())
            total += int((mask == camvid).sum())
    assert total > 0
    assert right / total >= 0.65


@needs_data
def test_labels_are_those_of_the_data():
    with (DATA / "scenes.csv").open(newline="") as file:
        assert {row["scene"] for row in csv.DictReader(file)} == set(find_package("scene18").labels)
