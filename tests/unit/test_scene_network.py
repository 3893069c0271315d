"""The packaged model's networks: shapes, gradients, the gate, and the exported graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from config.errors import ConfigError, UnknownPluginError
from models.layers.efficientnet_lite import EfficientNetLite0
from models.scene_network import SceneNetwork, build_scene_network

LABELS = ["bedroom", "forest", "street"]
IDS = (0, 3, 7, 150)


def small_manifest() -> dict[str, Any]:
    return {
        "segmenter": {"kind": "lite_fpn", "params": {"class_ids": IDS, "width": 16}},
        "classifier": {"kind": "semantic_gate", "params": {"width": 64, "semantic_widths": (64, 64, 64)}},
        "labels": LABELS,
    }


@pytest.fixture(scope="module")
def network() -> SceneNetwork:
    torch.manual_seed(3)
    return build_scene_network(small_manifest()).eval()


def test_shapes_types_and_ids(network: SceneNetwork):
    with torch.no_grad():
        output = network(torch.randn(2, 3, 96, 64))
    assert output.logits.shape == (2, 3)
    assert output.class_map.shape == output.class_scores.shape == (2, 24, 16)
    assert output.class_map.dtype == torch.uint8
    assert set(output.class_map.unique().tolist()) <= set(IDS)
    assert output.gate.shape == (2, 3, 2)
    assert bool((output.class_scores >= 1 / len(IDS)).all())


def test_new_gate_changes_nothing(network: SceneNetwork):
    with torch.no_grad():
        output = network(torch.randn(1, 3, 64, 64))
    assert output.gate.numpy() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("params", "learns"),
    [
        ({"depth": 2, "depth_width": 8}, "deep.to_fine.weight"),
        ({"fine_depth": 2}, "fine.1.project.1.weight"),
        ({"edges": True}, "edges.weight"),
    ],
)
def test_new_layers_change_nothing_and_learn(network: SceneNetwork, params: dict[str, Any], learns: str):
    manifest = small_manifest()
    manifest["segmenter"]["params"] |= params
    larger = build_scene_network(manifest)
    new = larger.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert all(name.startswith(f"segmenter.{learns.partition('.')[0]}.") for name in new)
    picture = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, after = network.forward_training(picture), larger.eval().forward_training(picture)
    assert torch.equal(before.segmentation, after.segmentation)
    assert torch.equal(before.scene, after.scene)
    larger.train().forward_training(picture).segmentation.square().mean().backward()
    assert float(larger.segmenter.get_parameter(learns).grad.abs().sum()) > 0


def test_pictures_in_a_batch_do_not_touch_each_other(network: SceneNetwork):
    pictures = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        together = network(pictures).logits
        alone = torch.cat([network(picture[None]).logits for picture in pictures])
    assert torch.allclose(together, alone, atol=1e-5)


def test_scene_losses_do_not_teach_the_segmentation():
    network = build_scene_network(small_manifest()).train()
    output = network.forward_training(torch.randn(2, 3, 64, 64))
    output.semantic.sum().backward()
    assert network.segmenter.head.weight.grad is None
    assert network.classifier.semantic[0].conv[1].weight.grad is not None


def test_side_that_is_no_multiple_of_32_is_refused():
    with pytest.raises(ValueError, match="multiples of 32, not 100x64"):
        EfficientNetLite0()(torch.zeros(1, 3, 64, 100))


@pytest.mark.parametrize("ids", [(5,), (1, 1), (0, 151)])
def test_impossible_class_ids_are_refused(ids: tuple[int, ...]):
    manifest = small_manifest()
    manifest["segmenter"]["params"]["class_ids"] = ids
    with pytest.raises(ConfigError, match="class_ids"):
        build_scene_network(manifest)


def test_unknown_parts_are_named():
    with pytest.raises(UnknownPluginError, match="lite_fpn"):
        build_scene_network(small_manifest() | {"segmenter": {"kind": "nothing", "params": {}}})
    with pytest.raises(ConfigError, match="dropuot"):
        build_scene_network(small_manifest() | {"classifier": {"kind": "semantic_gate", "params": {"dropuot": 0.1}}})


@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_graph_agrees_with_torch_from_any_folder(network: SceneNetwork, tmp_path, monkeypatch):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    openvino = pytest.importorskip("openvino")
    from tools.export import export_graph, load_weights, save_weights, tensor_places

    weights, graph = tmp_path / "weights.safetensors", tmp_path / "graph.onnx"
    save_weights(network, weights)
    difference = export_graph(network, weights, graph, (64, 64))
    assert difference <= 1e-3

    model = onnx.load(graph, load_external_data=False)
    outside = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert outside, "the graph holds its own weights"
    assert graph.stat().st_size < weights.stat().st_size / 10
    assert str(tmp_path).encode() not in graph.read_bytes()
    assert {t.name.removesuffix(".half") for t in outside} <= set(tensor_places(weights))

    monkeypatch.chdir("/")
    compiled = openvino.Core().compile_model(str(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    pictures = np.random.default_rng(1).standard_normal((4, 3, 64, 64)).astype(np.float32)
    load_weights(network, weights)
    with torch.no_grad():
        wanted = network(torch.from_numpy(pictures))
    found = compiled({"picture": pictures})
    assert found["logits"] == pytest.approx(wanted.logits.numpy(), abs=1e-3)
    assert found["class_map"].dtype == np.uint8
    assert (found["class_map"] == wanted.class_map.numpy()).mean() > 0.999
    assert found["gate"] == pytest.approx(wanted.gate.numpy(), abs=1e-3)
