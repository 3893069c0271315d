"""Scene networks of the reference, live: a frame is named exactly as files of its semantics would have it named."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from reference_models import NETWORKS, SCENES, ColourSegmenter, blobs, made, write_package

from config.schema import SemanticsSettings
from models import load_recognizer
from models.crops import CropPreprocess
from models.encoding import LabelBase, SemanticMap, exact_top3, scatter_top3, top3
from models.engine import Engine
from models.errors import ModelError
from models.layers.semantic_stem import Top3
from models.package import ModelPackage
from models.preprocess import squash
from models.scene_parts import scene_parts
from models.staged import LiveNetwork, StagedRecognizer
from models.torch_encoding import top3_on_device

pytestmark = pytest.mark.usefixtures("one_thread")

PICTURE = blobs()
CROP = CropPreprocess()


@pytest.fixture(scope="module")
def networks():
    return {kind: made(kind) for kind in NETWORKS}


@pytest.fixture(scope="module")
def folders(networks, tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    calibration = {"temperature": 0.5, "unknown_threshold": 0.2}
    return {
        kind: write_package(root / kind, kind, network, calibration=calibration) for kind, network in networks.items()
    }


def staged(folder: Path, network, segmenter=None, **semantics) -> StagedRecognizer:
    parts = scene_parts(network)
    live = LiveNetwork(parts, Engine("torch", "cpu"))
    return StagedRecognizer(ModelPackage(folder), parts, segmenter, SemanticsSettings(**semantics), live, "torch")


def through_png(array: np.ndarray) -> np.ndarray:
    """(3, H, W) uint8 written as a PNG and read again."""
    file = io.BytesIO()
    Image.fromarray(array.transpose(1, 2, 0)).save(file, "PNG")
    return np.asarray(Image.open(file)).transpose(2, 0, 1)


def by_hand(network, image: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Calibrated probabilities of a picture and its semantics, on the dense tensor."""
    resized = CROP.resized(image)
    (box,) = CROP.boxes(resized)
    cut = CROP.map(CROP.resized_map(SemanticMap(labels, scores)), box)
    semantic = torch.from_numpy(scatter_top3(cut.labels, cut.scores))[None]
    with torch.inference_mode():
        logits = network(torch.from_numpy(CROP.tensor(resized, box))[None], semantic).scene[0]
    return (logits / 0.5).softmax(0).numpy()


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("kind", ["two", "semantic"])
def test_a_frame_is_named_as_files_of_it_would_be(kind, base, networks, folders):
    prediction = staged(folders[kind], networks[kind], ColourSegmenter(), label_base=base).predict(PICTURE)
    semantics = ColourSegmenter().encode(PICTURE, LabelBase(base))
    wanted = by_hand(networks[kind], PICTURE, through_png(semantics.labels), through_png(semantics.scores))
    assert prediction.probabilities == pytest.approx(wanted, abs=1e-5)
    assert np.array_equal(prediction.class_map, semantics.labels[0] + 1 - base)
    assert prediction.class_map.shape == PICTURE.shape[:2]
    assert prediction.class_scores == pytest.approx(semantics.scores[0] / 255)
    assert prediction.labels == SCENES


def test_the_label_base_matters(networks, folders):
    zero, one = (
        staged(folders["two"], networks["two"], ColourSegmenter(), label_base=base).predict(PICTURE) for base in (0, 1)
    )
    assert np.abs(zero.probabilities - one.probabilities).max() > 1e-3
    assert np.array_equal(zero.class_map, one.class_map)


def test_scores_may_keep_all_their_digits(networks, folders):
    recognizer = staged(folders["two"], networks["two"], ColourSegmenter(), eight_bit=False)
    probabilities = ColourSegmenter().probabilities(PICTURE)
    labels = top3(probabilities, ColourSegmenter.class_ids).labels
    ids = np.array([0, *(ColourSegmenter.class_ids.index(i) for i in (1, 7, 64, 150, 12))])
    channels = np.zeros(151, np.intp)
    channels[[i - 1 for i in (1, 7, 64, 150, 12)]] = ids[1:]
    scores = np.take_along_axis(probabilities, channels[labels], 0)
    exact, rounded = (
        recognizer.predict(PICTURE),
        staged(folders["two"], networks["two"], ColourSegmenter()).predict(PICTURE),
    )
    assert exact.probabilities == pytest.approx(by_hand(networks["two"], PICTURE, labels, scores), abs=1e-5)
    assert 0 < np.abs(exact.probabilities - rounded.probabilities).max() < 0.05
    assert exact.class_scores.dtype == np.float32
    assert np.abs(exact.class_scores - rounded.class_scores).max() <= 0.5 / 255 + 1e-6


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 150), min_size=1, max_size=6, unique=True), st.booleans())
@settings(max_examples=30, deadline=None)
def test_exact_scores_rounded_are_the_rounded_ones(seed, ids, base_one):
    ids = [*ids, 5] if not any(ids) else ids
    probabilities = np.random.default_rng(seed).random((len(ids), 4, 3)).astype(np.float32)
    exact, rounded = (encode(probabilities, ids, LabelBase(base_one)) for encode in (exact_top3, top3))
    assert np.array_equal(exact.labels, rounded.labels)
    assert np.array_equal(np.rint(exact.scores * np.float32(255)).astype(np.uint8), rounded.scores)


@pytest.mark.parametrize("kind", ["rgb", "googlenet"])
def test_a_network_of_pictures_alone_needs_no_segmenter(kind, networks, folders):
    alone = staged(folders[kind], networks[kind])
    prediction = alone.predict(PICTURE)
    assert alone.segmenter is None
    assert prediction.class_map is prediction.class_scores is prediction.gate is None
    assert prediction.class_shares() == []
    with_one = staged(folders[kind], networks[kind], ColourSegmenter())
    seen = with_one.predict(PICTURE)
    assert with_one.segmenter == "colours"
    assert seen.class_map.shape == PICTURE.shape[:2]
    assert np.array_equal(seen.probabilities, prediction.probabilities)


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_parts_make_up_the_network(kind, networks):
    network, parts = networks[kind], scene_parts(networks[kind])
    random = np.random.default_rng(1)
    labels = torch.from_numpy(random.integers(0, 151, (2, 3, 224, 224)).astype(np.uint8))
    semantics = Top3(labels, torch.from_numpy(random.random((2, 3, 224, 224), dtype=np.float32)))
    rgb = torch.from_numpy(random.standard_normal((2, 3, 224, 224)).astype(np.float32))
    with torch.inference_mode():
        whole = network(rgb, semantics)
        of_rgb = parts.rgb(rgb) if parts.uses_rgb else None
        of_semantics = parts.semantic(parts.stem(semantics)) if parts.uses_semantics else None
        joined = parts.join(of_rgb, of_semantics)
    assert torch.equal(joined.logits, whole.scene)
    assert torch.equal(joined.features, whole.features)
    if kind == "two":
        assert torch.allclose(parts.branch_heads["rgb"](of_rgb.mean((2, 3))), whole.rgb)
        assert torch.allclose(parts.branch_heads["semantic"](of_semantics.mean((2, 3))), whole.semantic)
        assert joined.gate.shape == (2, 3, 3)
        assert 0 <= joined.gate.min() <= joined.gate.max() <= 1


def test_a_frame_may_be_made_smaller_first(networks, folders):
    large = blobs(600, 801)
    whole = staged(folders["two"], networks["two"], ColourSegmenter())
    smaller = staged(folders["two"], networks["two"], ColourSegmenter(), working_side=300)
    found, wanted = smaller.predict(large), whole.predict(squash(large, 400, 300))
    assert np.array_equal(found.probabilities, wanted.probabilities)
    assert found.class_map.shape == (300, 400)
    assert smaller.shrunk(PICTURE) is PICTURE


@pytest.mark.parametrize(("height", "width"), [(300, 400), (500, 260), (256, 256), (31, 900)])
def test_the_view_is_what_the_crop_shows(height, width, networks, folders):
    view = staged(folders["rgb"], networks["rgb"]).predict(blobs(height, width)).view
    resized = CROP.resized(blobs(height, width)).shape
    assert ((view.bottom - view.top) * resized[0], (view.right - view.left) * resized[1]) == pytest.approx((224, 224))
    assert view.top + view.bottom == pytest.approx(1, abs=0.01)
    assert view.left + view.right == pytest.approx(1, abs=0.01)
    assert 0 <= min(view) <= max(view) <= 1


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(bad, networks, folders):
    with pytest.raises(ValueError, match="HxWx3"):
        staged(folders["rgb"], networks["rgb"]).predict(bad)


def test_loaded_by_name_it_is_the_same(networks, folders):
    recognizer = load_recognizer(
        str(folders["two"]), backend="torch", device="cpu", segmenter="scene18",
        semantics=SemanticsSettings(label_base=1),
    )  # fmt: skip
    assert (recognizer.engine, recognizer.device, recognizer.segmenter) == ("torch", "cpu", "scene18")
    prediction = recognizer.predict(PICTURE)
    semantics = recognizer.encode(PICTURE)
    assert prediction.probabilities == pytest.approx(by_hand(networks["two"], PICTURE, *semantics), abs=1e-5)
    assert prediction.class_map.max() <= 31


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("two", {}, r"looks at semantics.*--set model\.segmenter="),
        ("semantic", {}, r"looks at semantics.*--set model\.segmenter="),
        ("rgb", {"semantics": SemanticsSettings(label_base=1)}, r"looks at no semantics; leave model\.semantics out"),
        ("two", {"segmenter": "no_such"}, "unknown model 'no_such'"),
        ("two", {"segmenter": "scene18", "semantics": SemanticsSettings(short_sides=(450,))}, "short sides"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(kind, options, message, folders):
    with pytest.raises(ModelError, match=message):
        load_recognizer(str(folders[kind]), backend="torch", device="cpu", **options)


def test_a_joint_model_takes_no_other_semantics(folders):
    with pytest.raises(ModelError, match="shares an encoder"):
        load_recognizer(segmenter=str(folders["two"]))
    with pytest.raises(ModelError, match=r"model\.semantics is for scene networks"):
        load_recognizer(semantics=SemanticsSettings(eight_bit=False))
    assert load_recognizer(segmenter="lite_fpn").segmenter == "lite_fpn"


def test_a_segmenter_alone_names_no_scenes(tmp_path):
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "model.json").write_text(
        '{"name": "alone", "version": 1, "segmenter": {"kind": "lite_fpn"}, "files": {}}'
    )
    with pytest.raises(ModelError, match=r"is a segmenter and names no scenes.*model\.segmenter"):
        load_recognizer(str(folder))


@given(st.integers(0, 2**32 - 1), st.integers(3, 8), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_best_three_are_the_same_on_a_device(seed, classes, base_one, has_none):
    random = np.random.default_rng(seed)
    ids = [*random.permutation(np.arange(1, 151))[:classes].tolist(), *([0] if has_none else [])]
    # Few different values, so that many are equal.
    probabilities = random.choice(np.array([0, 0.1, 0.5, 127.5 / 255, 1.0001], np.float32), (len(ids), 5, 4))
    wanted = top3(probabilities, ids, LabelBase(base_one))
    found = top3_on_device(torch.from_numpy(probabilities), ids, LabelBase(base_one))
    assert np.array_equal(found.labels, wanted.labels)
    assert np.array_equal(found.scores, wanted.scores)


def test_a_probability_that_is_none_is_refused_on_a_device():
    with pytest.raises(ValueError, match="NaN"):
        top3_on_device(torch.full((3, 2, 2), torch.nan), (1, 2, 3))
