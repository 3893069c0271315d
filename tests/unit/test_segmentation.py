"""Scaling, strips, several scales, masks of queries, and loading segmenters by name."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny_transformers import ADE20K, save_tiny
from torch.nn import functional as F

from config.plugins import MissingLibraryError
from models import load_recognizer, score_maps
from models.ade20k_names import class_ids_of
from models.crops import CropPreprocess
from models.errors import ModelError
from models.package import Manifest, user_models_folder
from models.scaling import ShortSideScaling
from models.score_maps import ClassLogits, MaskWindow, QueryMasks, probability_strips, resized_rows
from models.segmentation import load_segmenter
from models.segmenters import build_csail

PICTURE = np.random.default_rng(2).integers(0, 256, (54, 96, 3), dtype=np.uint8)
BY_POSITION = [f"LABEL_{i}" for i in range(150)]


# --- scaling


@pytest.mark.parametrize(
    ("multiple", "size", "short_side", "expected"),
    [
        (32, (540, 960), 300, (320, 544)),
        (8, (540, 960), 300, (304, 536)),
        (32, (540, 960), 600, (576, 1024)),  # the long side, 1,000 at most, decides
        (8, (960, 540), 600, (1000, 568)),
        (32, (256, 256), 450, (480, 480)),
        (8, (1, 1), 300, (304, 304)),
        (32, (1, 20_000), 300, (32, 1024)),
        (8, (20_000, 20_000), 450, (456, 456)),
    ],
)
def test_the_short_side_is_scaled_and_both_are_rounded_up(multiple, size, short_side, expected):
    assert ShortSideScaling(multiple).size(*size, short_side) == expected


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from((8, 32)), st.sampled_from((300, 375, 450, 525, 600)))
def test_sizes_are_multiples_near_the_asked_one(height, width, multiple, short_side):
    found = ShortSideScaling(multiple).size(height, width, short_side)
    assert all(side % multiple == 0 and side >= multiple for side in found)
    assert min(found) < short_side + multiple
    assert max(found) < 1000 + multiple


def test_pictures_are_resized_not_padded_and_normalised():
    grey = np.full((40, 50, 3), 128, np.uint8)
    tensor = ShortSideScaling(32)(grey, 60)
    assert tensor.shape == (3, 64, 96)
    assert tensor.dtype == np.float32
    expected = (128 / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(tensor, np.broadcast_to(expected[:, None, None], tensor.shape), atol=1e-5)


# --- maps in strips


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40), st.integers(1, 40))
def test_resized_rows_are_those_of_the_whole(height, width, rows, columns):
    x = torch.randn(3, height, width, generator=torch.Generator().manual_seed(1))
    whole = F.interpolate(x[None], (rows, columns), mode="bilinear", align_corners=False)[0]
    found = torch.cat([resized_rows(x, torch.tensor([row]), (rows, columns)) for row in range(rows)], 1)
    torch.testing.assert_close(found, whole, atol=2e-6, rtol=1e-5)


def query_masks(seed: int = 0) -> QueryMasks:
    made = torch.Generator().manual_seed(seed)
    windows = [
        MaskWindow(4 * torch.randn(6, 4, 4, generator=made), torch.rand(6, 11, generator=made).softmax(1), 0, left)
        for left in (0, 5, 9)
    ]
    return QueryMasks(windows, (8, 8))


@pytest.mark.parametrize("size", [(30, 47), (5, 5), (8, 17)])
def test_strips_make_up_the_whole(monkeypatch, size):
    maps = [ClassLogits(torch.randn(11, 6, 9)), query_masks()]
    whole = torch.cat(list(probability_strips(maps, size)), 1)
    monkeypatch.setattr(score_maps, "_STRIP_NUMBERS", 3 * 11 * size[1])
    strips = list(probability_strips(maps, size))
    assert len(strips) == -(-size[0] // 3)
    torch.testing.assert_close(torch.cat(strips, 1), whole, atol=1e-6, rtol=0)


def test_several_maps_give_the_mean():
    maps = [ClassLogits(torch.randn(5, 4, 4)), ClassLogits(torch.randn(5, 7, 6))]
    (found,) = probability_strips(maps, (9, 9))
    (one,), (other,) = (probability_strips([single], (9, 9)) for single in maps)
    torch.testing.assert_close(found, (one + other) / 2)


def test_a_pixel_s_class_is_the_sum_over_queries():
    masks, classes = torch.randn(6, 4, 5), torch.rand(6, 12).softmax(1)[:, :-1]
    found = QueryMasks([MaskWindow(masks, classes, 0, 0)], (16, 20)).rows(0, 16, (16, 20))
    larger = F.interpolate(masks[None], (16, 20), mode="bilinear", align_corners=False)[0].sigmoid()
    scores = torch.einsum("qk,qhw->khw", classes, larger)
    torch.testing.assert_close(found, scores / scores.sum(0))


def test_overlapping_windows_are_averaged():
    seen = query_masks()
    alone = [QueryMasks([MaskWindow(w.masks, w.classes, 0, 0)], (8, 8)) for w in seen.windows]
    parts = [single._scores(torch.arange(8)) for single in alone]
    found = seen._scores(torch.arange(8))
    assert found.shape == (11, 8, 17)
    torch.testing.assert_close(found[:, :, :5], parts[0][:, :, :5])
    torch.testing.assert_close(found[:, :, 5:8], (parts[0][:, :, 5:] + parts[1][:, :, :3]) / 2)
    torch.testing.assert_close(found[:, :, 13:], parts[2][:, :, 4:])


def test_where_no_query_sees_anything_all_classes_are_as_likely():
    nothing = MaskWindow(torch.full((3, 2, 2), -1e4), torch.rand(3, 5), 0, 0)
    torch.testing.assert_close(QueryMasks([nothing], (4, 4)).rows(0, 4, (4, 4)), torch.full((5, 4, 4), 0.2))


# --- names of classes


def test_labels_in_any_order_and_spelling_are_mapped_by_name():
    assert class_ids_of(ADE20K, "x") == tuple(range(1, 151))
    assert class_ids_of(["background", *reversed(ADE20K)], "x") == (0, *range(150, 0, -1))
    assert class_ids_of(["Windowpane, window ", "window-pane", "bed "][::2], "x") == (9, 8)
    assert class_ids_of(["road, route", "window", "Traffic_Light", "screen door, screen"], "x") == (7, 9, 137, 59)


@pytest.mark.parametrize("labels", [BY_POSITION, ["wall", *BY_POSITION[1:]]])
def test_where_names_do_not_tell_positions_do_and_the_log_says_so(caplog, labels):
    assert class_ids_of(labels, "tiny") == tuple(range(1, 151))
    assert "taken by their position" in caplog.text
    assert class_ids_of(["other", *labels], "tiny") == tuple(range(151))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["road", "sidewalk", "vegetation", "rider"], "4 labels, among them 'vegetation', 'rider'"),
        (BY_POSITION[:149], "149 labels, among them 'LABEL_0'"),
        (["sky", *BY_POSITION[1:]], "150 labels"),  # the name speaks against the position
        (["wall", "wall"], "names wall more than once"),
        (["background"], "no class"),
        ([*BY_POSITION, "LABEL_150"], "151 labels"),
    ],
)
def test_labels_of_other_data_sets_are_refused(labels, message):
    with pytest.raises(ModelError, match=f"tiny does not name the 150 classes.*{message}.*trained on ADE20K"):
        class_ids_of(labels, "tiny")


# --- loading


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SCENE_STREAMER_CACHE", str(tmp_path / "cache"))


def write_package(folder: Path, segmenter: dict, state: dict[str, torch.Tensor], **more) -> Path:
    folder.mkdir(parents=True)
    save_file(state, folder / "weights.safetensors")
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    files = {"weights": {"path": "weights.safetensors", "sha256": digest}}
    manifest = Manifest(name=folder.name, version=1, segmenter=segmenter, files=files, **more)
    (folder / "model.json").write_text(manifest.model_dump_json(exclude_none=True))
    return folder


@pytest.fixture(scope="module")
def mobile() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    network = build_csail("c1_mobilenetv2").eval()
    for value in network.parameters():
        if value.ndim > 1:  # torch's own start lets the picture fade away on its way through the network
            torch.nn.init.kaiming_normal_(value, nonlinearity="relu")
    return network.state_dict()


def test_the_packaged_model_s_segmenter_sees_what_its_recognizer_sees():
    segmenter = load_segmenter("scene18", device="cpu")
    prediction = load_recognizer("scene18", backend="torch", device="cpu").predict(PICTURE)
    found = segmenter.probabilities(PICTURE, prediction.class_map.shape)
    ids = np.asarray(segmenter.class_ids)
    np.testing.assert_allclose(found.max(0), prediction.class_scores, atol=1e-5)
    assert (ids[found.argmax(0)] == prediction.class_map).mean() > 0.999
    assert segmenter.name == "scene18"
    assert segmenter.sha256 == load_recognizer("scene18").package.weights_sha256
    assert segmenter.device == "cpu"


def test_an_imported_segmenter_by_name_and_by_folder(mobile):
    folder = write_package(user_models_folder() / "mine", {"kind": "c1_mobilenetv2"}, mobile)
    by_name = load_segmenter("mine", device="cpu", short_sides=(48,))
    by_folder = load_segmenter(str(folder), device="cpu", short_sides=[48])
    found = by_name.probabilities(PICTURE)
    np.testing.assert_array_equal(found, by_folder.probabilities(PICTURE))
    network = build_csail("c1_mobilenetv2").eval()
    network.load_state_dict(mobile)
    with torch.inference_mode():
        seen = torch.from_numpy(ShortSideScaling(8)(PICTURE, 48))[None]
        np.testing.assert_allclose(found, network(seen, PICTURE.shape[:2])[0].numpy(), atol=1e-6)
    assert by_name.class_ids == tuple(range(1, 151))
    assert by_name.sha256 == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()


def test_scales_are_averaged_and_the_package_may_say_which(mobile, tmp_path):
    spec = {"kind": "c1_mobilenetv2", "params": {"short_sides": [32, 56]}}
    folder = str(write_package(tmp_path / "two", spec, mobile))
    mean = load_segmenter(folder, device="cpu").probabilities(PICTURE)
    one, other = (load_segmenter(folder, device="cpu", short_sides=[s]).probabilities(PICTURE) for s in (32, 56))
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_allclose(mean, (one + other) / 2, atol=1e-6)


def test_weights_that_do_not_fit_are_named(mobile, tmp_path):
    changed = {key: value for key, value in mobile.items() if key != "decoder.cbr.0.weight"}
    changed |= {"decoder.conv_last.bias": torch.zeros(7), "decoder.extra": torch.zeros(1)}
    folder = write_package(tmp_path / "odd", {"kind": "c1_mobilenetv2"}, changed)
    with pytest.raises(
        ModelError, match=r"missing: decoder.cbr.0.weight; not known: decoder.extra; of another shape: .*conv_last.bias"
    ):
        load_segmenter(str(folder), device="cpu")


def test_a_file_that_holds_no_weights(tmp_path):
    folder = write_package(tmp_path / "broken", {"kind": "c1_mobilenetv2"}, {"x": torch.zeros(1)})
    (folder / "weights.safetensors").write_bytes(b"nothing of the kind")
    description = json.loads((folder / "model.json").read_text())
    description["files"]["weights"]["sha256"] = hashlib.sha256(b"nothing of the kind").hexdigest()
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match="no safetensors file"):
        load_segmenter(str(folder), device="cpu")


def test_a_model_without_a_segmenter(tmp_path):
    classifier = {"kind": "two_branch", "params": {}}
    folder = write_package(
        tmp_path / "scenes", None, {"x": torch.zeros(1)}, classifier=classifier, crop=CropPreprocess(), labels=["a"]
    )
    with pytest.raises(ModelError, match="has no segmenter; give one that has"):
        load_segmenter(str(folder), device="cpu")


def test_a_segmenter_that_does_not_scale_pictures_is_none_alone(tmp_path):
    from models.segmenters import SEGMENTERS

    state = SEGMENTERS.build("lite_fpn", {}).state_dict()
    folder = write_package(tmp_path / "lite", {"kind": "lite_fpn"}, state)
    with pytest.raises(ModelError, match="does not scale pictures itself"):
        load_segmenter(str(folder), device="cpu")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no_such",), "unknown model 'no_such'.*scene18"),
        (("scene18", "NPU9"), "no device 'NPU9'"),
        (("scene18", "cpu", (300,)), "sees every picture at one size"),
        (("huggingface:",), "huggingface:"),
        (("huggingface:/no/such/folder",), "cannot be loaded"),
    ],
)
def test_what_cannot_be_loaded_is_one_clear_error(arguments, message):
    name, device, sides = (*arguments, "cpu", None)[:3] if len(arguments) < 3 else arguments
    with pytest.raises(ModelError, match=message):
        load_segmenter(name, device=device, short_sides=sides)


@pytest.mark.parametrize("sides", [[], [0], [300, -1]])
def test_scales_that_are_none(mobile, tmp_path, sides):
    folder = write_package(tmp_path / "mine", {"kind": "c1_mobilenetv2"}, mobile)
    with pytest.raises(ModelError, match="one or more sizes in pixels"):
        load_segmenter(str(folder), device="cpu", short_sides=sides)


def test_importing_the_interface_does_not_load_torch():
    code = "import sys, models.segmentation; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Hugging Face


@pytest.mark.parametrize("kind", ["segformer", "upernet_convnext", "eomt"])
def test_the_best_class_is_the_library_s_own(tmp_path, kind):
    folder = save_tiny(kind, tmp_path)
    segmenter = load_segmenter(f"huggingface:{folder}", device="cpu")
    processor, model = segmenter._network.processor, segmenter._network.model
    for picture in (PICTURE, np.ascontiguousarray(PICTURE.transpose(1, 0, 2))):
        with torch.inference_mode():
            output = model(**processor(images=picture, return_tensors="pt"))
        (expected,) = processor.post_process_semantic_segmentation(output, target_sizes=[picture.shape[:2]])
        found = segmenter.probabilities(picture)
        assert len(np.unique(expected)) > 1
        assert (found.argmax(0) == expected.numpy()).mean() > 0.995
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert segmenter.sha256 == digest


def test_outputs_in_another_order_keep_their_classes(tmp_path):
    folder = save_tiny("segformer", tmp_path / "a")
    other = save_tiny("segformer", tmp_path / "b", ADE20K[::-1])
    one = load_segmenter(f"huggingface:{folder}", device="cpu")
    two = load_segmenter(f"huggingface:{other}", device="cpu")
    assert two.class_ids == one.class_ids[::-1] == tuple(range(150, 0, -1))


def test_short_sides_where_the_model_takes_any_size(tmp_path):
    name = f"huggingface:{save_tiny('mask2former', tmp_path)}"
    mean = load_segmenter(name, device="cpu", short_sides=(32, 96)).probabilities(PICTURE, (9, 16))
    parts = [load_segmenter(name, device="cpu", short_sides=[s]).probabilities(PICTURE, (9, 16)) for s in (32, 96)]
    np.testing.assert_allclose(mean, sum(parts) / 2, atol=1e-6)


def test_windows_of_one_size_have_limits(tmp_path):
    name = f"huggingface:{save_tiny('eomt', tmp_path)}"
    with pytest.raises(ModelError, match="windows of one size; leave the short sides out"):
        load_segmenter(name, device="cpu", short_sides=[96]).probabilities(PICTURE)
    with pytest.raises(ModelError, match="more than 16 windows"):
        load_segmenter(name, device="cpu").probabilities(np.zeros((1, 500, 3), np.uint8))


def test_models_that_are_no_ade20k_segmenters(tmp_path):
    streets = save_tiny("segformer", tmp_path / "streets", ["road", "vegetation", "rider"])
    with pytest.raises(ModelError, match="does not name the 150 classes"):
        load_segmenter(f"huggingface:{streets}", device="cpu")

    import transformers

    config = transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    with pytest.raises(ModelError, match="is of the kind 'vit'; known: maskformer"):
        load_segmenter(f"huggingface:{tmp_path / 'vit'}", device="cpu")


def test_an_encoder_without_a_head_is_refused(tmp_path):
    import transformers

    folder = save_tiny("segformer", tmp_path)
    config = transformers.SegformerConfig.from_pretrained(folder)
    transformers.SegformerModel(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"no weights for decode_head.*not a whole one"):
        load_segmenter(f"huggingface:{folder}", device="cpu")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'scene-streamer\[huggingface\]'"):
        load_segmenter("huggingface:any", device="cpu")
