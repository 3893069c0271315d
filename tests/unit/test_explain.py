"""Explanations: maps that add up to the logit, classes whose absence is felt, and what is written of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from reference_models import NETWORKS, SCENES, ColourSegmenter, blobs, made, write_package

from config.labels import UnknownLabelError
from config.schema import SemanticsSettings
from models import explain, load_recognizer
from models.classifiers.places_baseline import PlacesBaseline
from models.explain import ClassEffect, Explanation, explain_staged
from models.layers.semantic_stem import Top3
from models.package import ModelPackage
from models.prediction import View
from models.scene_network import build_scene_network
from models.scene_parts import SceneParts, scene_parts
from models.staged import CropInputs, crop_inputs
from streamer.errors import OutputError, UserError
from tools.explanation import check_stems, explanation_lines, explanation_report, write_heat_maps

pytestmark = pytest.mark.usefixtures("one_thread")

PICTURE = blobs()
TEMPERATURE = 0.5


@pytest.fixture(scope="module")
def parts() -> dict[str, SceneParts]:
    return {kind: scene_parts(made(kind)) for kind in NETWORKS}


@pytest.fixture(scope="module")
def package(parts, tmp_path_factory) -> ModelPackage:
    folder = tmp_path_factory.mktemp("models") / "semantic"
    calibration = {"temperature": TEMPERATURE}
    return ModelPackage(write_package(folder, "semantic", parts["semantic"].network, calibration=calibration))


@pytest.fixture(scope="module")
def inputs(package) -> CropInputs:
    return crop_inputs(package.crop, PICTURE, ColourSegmenter().encode(PICTURE))


def logits_of(parts: SceneParts, inputs: CropInputs, scores: np.ndarray | None = None) -> torch.Tensor:
    """Of the whole network, (C,)."""
    semantic = Top3(torch.from_numpy(inputs.labels), torch.from_numpy(inputs.scores if scores is None else scores))
    with torch.inference_mode():
        return parts.network(torch.from_numpy(inputs.rgb), semantic).scene[0]


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("scene", [None, SCENES[4]])
def test_a_map_s_mean_is_the_logit_without_its_bias(kind, scene, parts, package, inputs):
    found = explain_staged(package, parts[kind], inputs, 0, scene)
    logits = logits_of(parts[kind], inputs)
    index = SCENES.index(found.scene)
    assert index == (int(logits.argmax()) if scene is None else 4)
    assert found.p == pytest.approx(float((logits / TEMPERATURE).softmax(0)[index]), abs=1e-5)
    assert found.activation.mean() == pytest.approx(
        float(logits[index] - parts[kind].head.bias.detach()[index]), abs=1e-4
    )
    assert found.view == inputs.view


def test_the_branches_have_their_own_maps(parts, package, inputs):
    found = explain_staged(package, parts["two"], inputs, 0)
    with torch.inference_mode():
        semantic = Top3(torch.from_numpy(inputs.labels), torch.from_numpy(inputs.scores))
        whole = parts["two"].network(torch.from_numpy(inputs.rgb), semantic)
    index = SCENES.index(found.scene)
    network = parts["two"].network
    for branch, logits, head in (("rgb", whole.rgb, network.fc_RGB), ("semantic", whole.semantic, network.fc_SEM)):
        assert found.branches[branch].shape == (7, 7)
        assert found.branches[branch].mean() == pytest.approx(
            float(logits[0, index] - head.bias.detach()[index]), abs=1e-4
        )
    assert found.activation.shape == found.gate.shape == (3, 3)
    assert 0 <= found.gate.min() <= found.gate.max() <= 1


@pytest.mark.parametrize("kind", ["rgb", "googlenet"])
def test_of_an_averaging_head_gradient_and_weights_give_one_map(kind, parts, package, inputs):
    by_weights = explain_staged(package, parts[kind], inputs, 0)
    index = SCENES.index(by_weights.scene)
    by_gradient = explain._by_gradient(parts[kind], torch.from_numpy(inputs.rgb.copy()), index)[0].numpy()
    assert by_gradient == pytest.approx(by_weights.activation, abs=1e-4)


def test_a_head_that_does_not_average_has_a_map_too(package, inputs):
    torch.manual_seed(0)
    found = explain_staged(package, scene_parts(PlacesBaseline("alexnet", len(SCENES)).eval()), inputs, 0)
    assert found.activation.shape == (6, 6)
    assert np.ptp(found.activation) > 0
    assert found.classes == ()
    assert found.gate is None


@pytest.mark.parametrize("kind", ["two", "semantic"])
@pytest.mark.parametrize("base", [0, 1])
def test_a_class_is_left_out_by_its_scores(kind, base, parts, package, monkeypatch):
    monkeypatch.setattr(explain, "_AT_ONCE", 2)  # several batches
    inputs = crop_inputs(package.crop, PICTURE, ColourSegmenter().encode(PICTURE, base))
    found = explain_staged(package, parts[kind], inputs, base)
    index = SCENES.index(found.scene)
    seen = {int(label) + 1 - base for label in np.unique(inputs.labels[inputs.scores > 0])}
    assert {effect.class_id for effect in found.classes} == seen == {1, 7, 64, 150}
    for effect in found.classes:
        scores = np.where(inputs.labels == effect.class_id - 1 + base, 0, inputs.scores).astype(np.float32)
        by_hand = float((logits_of(parts[kind], inputs, scores) / TEMPERATURE).softmax(0)[index])
        assert effect.p_without == pytest.approx(by_hand, abs=1e-5)
        assert effect.drop == pytest.approx(found.p - by_hand, abs=1e-5)
    drops = [effect.drop for effect in found.classes]
    assert drops == sorted(drops, reverse=True)
    assert max(map(abs, drops)) > 1e-3


@pytest.mark.parametrize("kind", ["two", "semantic"])
def test_a_class_that_is_absent_changes_nothing(kind, parts, package, inputs):
    whole = Top3(torch.from_numpy(inputs.labels), torch.from_numpy(inputs.scores))
    absent = torch.tensor([11, 99], dtype=torch.uint8)
    with torch.inference_mode():
        rgb = parts[kind].rgb(torch.from_numpy(inputs.rgb)) if parts[kind].uses_rgb else None
        logits = explain._join_without(parts[kind], whole, rgb, absent).logits
    wanted = logits_of(parts[kind], inputs)
    assert logits.numpy() == pytest.approx(torch.stack([wanted, wanted]).numpy(), abs=1e-5)


def test_without_any_score_there_is_nothing_to_leave_out(parts, package, inputs):
    nothing = CropInputs(inputs.rgb, inputs.labels, np.zeros_like(inputs.scores), inputs.view)
    assert explain_staged(package, parts["two"], nothing, 0).classes == ()


def test_an_unknown_scene_is_named(parts, package, inputs):
    with pytest.raises(UnknownLabelError, match="knows no scene 'beach'"):
        explain_staged(package, parts["rgb"], inputs, 0, "beach")
    with pytest.raises(UnknownLabelError, match="knows no scene 'beach'"):
        load_recognizer().explain(PICTURE, "beach")


# ------------------------------------------------------------------ the packaged model


@pytest.fixture(scope="module")
def joint():
    return load_recognizer("scene18", backend="openvino")


def test_the_packaged_model_s_map_is_the_live_one(joint):
    prediction, found = joint.predict(PICTURE), joint.explain(PICTURE)
    assert found.scene == prediction.scene
    assert found.p == pytest.approx(float(prediction.probabilities.max()), abs=1e-3)
    assert found.activation == pytest.approx(prediction.activation, abs=1e-2)
    assert found.gate == pytest.approx(prediction.gate, abs=1e-3)
    assert found.view == prediction.view == View(0, 0, 1, 1)


@pytest.mark.parametrize("scene", [None, "forest"])
def test_the_packaged_model_s_maps_add_up(joint, scene):
    found = joint.explain(PICTURE, scene)
    network = build_scene_network(joint.package.manifest.model_dump())
    from tools.export import load_weights

    load_weights(network, joint.package.path("weights"))
    with torch.inference_mode():
        whole = network.eval().forward_training(torch.from_numpy(joint.package.preprocess(PICTURE))[None])
    index = joint.labels.index(found.scene)
    heads = network.classifier
    for values, logits, head in (
        (found.activation, whole.scene, heads.fc),
        (found.branches["rgb"], whole.rgb, heads.fc_rgb),
        (found.branches["semantic"], whole.semantic, heads.fc_semantic),
    ):
        assert values.mean() == pytest.approx(float(logits[0, index] - head.bias.detach()[index]), abs=1e-3)


def test_the_packaged_model_without_a_class(joint):
    found = joint.explain(PICTURE)
    ids = [effect.class_id for effect in found.classes]
    assert sorted(ids) == [i for i in joint.package.manifest.semantic_classes if i]
    for effect in found.classes:
        assert 0 <= effect.p_without <= 1
        assert effect.drop == pytest.approx(found.p - effect.p_without)
    drops = [effect.drop for effect in found.classes]
    assert drops == sorted(drops, reverse=True)


# ------------------------------------------------------------------ what is said and written


def explained(**more) -> Explanation:
    maps = {"activation": np.arange(9, dtype=np.float32).reshape(3, 3), "gate": np.full((2, 2), 0.5, np.float32)}
    effects = tuple(ClassEffect(i, 0.9 - 0.1 * (5 - i), 0.1 * (5 - i)) for i in range(1, 13))
    return Explanation("street", 0.9, **(maps | {"classes": effects} | more))


def test_the_report_names_classes_and_lines_are_few():
    report = explanation_report(explained(branches={"rgb": np.zeros((1, 1), np.float32)}))
    assert report["classes"][0] == [1, "wall", 0.5, 0.4]
    assert report["activation"][2] == [6, 7, 8]
    assert report["activation_rgb"] == [[0]]
    assert report["view"] == [0, 0, 1, 1]
    lines = explanation_lines(report)
    assert len(lines) == 9
    assert "wall" in lines[1] and "-40.0 points" in lines[1]
    assert "+70.0 points" in lines[-1]


def test_lines_of_networks_and_pictures_without_classes():
    assert "no semantics" in explanation_lines(explanation_report(explained(classes=(), gate=None)))[0]
    nothing = explained(classes=(ClassEffect(3, 0.9, 0.00001),))
    assert "no single class matters" in explanation_lines(explanation_report(nothing))[0]
    assert "gate" not in explanation_report(explained(gate=None))


def test_heat_maps_cover_the_view_alone(tmp_path):
    image = np.full((100, 200, 3), 120, np.uint8)
    half = explained(view=View(0.0, 0.25, 1.0, 0.75))
    files = write_heat_maps(half, image, "shot", tmp_path / "new")
    assert [file.name for file in files] == ["shot.activation.png", "shot.gate.png"]
    assert sorted((tmp_path / "new").iterdir()) == files
    drawn = cv2.imread(str(files[0]))
    assert drawn.shape == image.shape
    assert np.ptp(drawn[:, :49]) == np.ptp(drawn[:, 151:]) == 0  # dimmed alike
    assert drawn[0, 0, 0] < 120
    assert np.ptp(drawn[:, 51:149]) > 50


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_heat_maps(explained(), PICTURE, "shot", tmp_path / "file")


def test_pictures_of_one_name_are_refused():
    with pytest.raises(UserError, match="would both become"):
        check_stems([Path("a/shot.jpg"), Path("b/shot.png")])
    check_stems([Path("a.jpg"), Path("b.jpg")])


def test_semantics_settings_are_used_by_explanations(parts, package):
    """A staged recognizer explains the very input that it predicts from."""
    from models.engine import Engine
    from models.staged import LiveNetwork, StagedRecognizer

    live = LiveNetwork(parts["two"], Engine("torch", "cpu"))
    recognizer = StagedRecognizer(
        package, parts["two"], ColourSegmenter(), SemanticsSettings(label_base=1, working_side=260), live, "torch"
    )
    prediction, found = recognizer.predict(PICTURE), recognizer.explain(PICTURE)
    assert found.p == pytest.approx(float(prediction.probabilities.max()), abs=1e-5)
    assert found.activation == pytest.approx(prediction.activation, abs=1e-4)
    assert found.gate == pytest.approx(prediction.gate, abs=1e-5)
    assert found.view == prediction.view
