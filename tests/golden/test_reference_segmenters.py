"""The three public ADE20K segmenters give the numbers of their public implementation, on torch and on OpenVINO.

The numbers come from `reference/goldens.json` in the folder `shared` beside the repository (float32, CPU, weights and
input by formula, in `goldens.py` there); without that folder those tests are skipped and the small facts remain.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models.segmenters import CSAIL_SEGMENTERS, build_csail

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "reference"
needs_goldens = pytest.mark.skipif(
    not (FOLDER / "goldens.json").is_file(), reason="no folder shared/reference beside the repository"
)
TOLERANCE = 1e-3  # of the largest of the eight numbers, of std, and of each class's mean
SIZE = (256, 320)
PARAMETERS = {"upernet_r50": 64_222_294, "ppm_r50dilated": 51_579_116, "c1_mobilenetv2": 2_181_932}


@pytest.fixture(scope="module")
def formulas() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_goldens", FOLDER / "goldens.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def goldens() -> dict[str, Any]:
    return json.loads((FOLDER / "goldens.json").read_text())


@pytest.fixture(scope="module", params=CSAIL_SEGMENTERS)
def filled(request, formulas: ModuleType, goldens: dict[str, Any]) -> tuple[str, nn.Module, torch.Tensor]:
    """A segmenter's name, the segmenter with the formula's weights, and the formula's picture."""
    segmenter, seed = build_csail(request.param).eval(), goldens["seed"]
    for part, offset in ((segmenter.encoder, 0), (segmenter.decoder, 100)):
        state = part.state_dict()
        for key, value in state.items():
            if value.ndim > 0:
                state[key] = torch.from_numpy(formulas.weight(key, tuple(value.shape), seed + offset))
        part.load_state_dict(state)
    return request.param, segmenter, torch.from_numpy(formulas.segmenter_input(seed, *SIZE))


def assert_agrees(probabilities: np.ndarray, golden: dict[str, Any], formulas: ModuleType) -> None:
    found, expected = formulas.digest(probabilities), golden["scores"]
    assert found["shape"] == expected["shape"]
    assert found["argmax"] == expected["argmax"]
    assert found["mean"] == pytest.approx(expected["mean"], rel=TOLERANCE)
    assert found["std"] == pytest.approx(expected["std"], rel=TOLERANCE)
    np.testing.assert_allclose(found["first8"], expected["first8"], rtol=0, atol=TOLERANCE * max(expected["first8"]))
    means = golden["mean_per_class_first8"]
    np.testing.assert_allclose(probabilities.mean((0, 2, 3))[:8], means, rtol=TOLERANCE)
    # The best class of each of the 81,920 pixels, counted. A pixel between two classes may fall either way.
    counts = np.bincount(probabilities.argmax(1).ravel(), minlength=150)
    assert counts.sum() == sum(golden["top3_label_hist"])
    assert np.abs(counts - golden["top3_label_hist"]).sum() <= 2 * TOLERANCE * counts.sum()


@needs_goldens
def test_names_and_shapes_are_the_checkpoints_in_their_order(filled, goldens) -> None:
    name, segmenter, _ = filled
    golden = goldens["segmenters"][name]
    for part in ("encoder", "decoder"):
        state = getattr(segmenter, part).state_dict()
        assert [(key, list(value.shape)) for key, value in state.items()] == list(golden[f"{part}_state"].items())
    assert sum(parameter.numel() for parameter in segmenter.parameters()) == golden["params"]


@needs_goldens
def test_probabilities_agree_on_torch(filled, goldens, formulas) -> None:
    name, segmenter, picture = filled
    with torch.inference_mode():
        probabilities = segmenter(picture, SIZE).numpy()
    assert_agrees(probabilities, goldens["segmenters"][name], formulas)


class OfSize(nn.Module):
    """A segmenter for one size, which a graph holds as a constant."""

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.segmenter(picture, SIZE)


@needs_goldens
def test_probabilities_agree_on_openvino(filled, goldens, formulas) -> None:
    import openvino as ov

    name, segmenter, picture = filled
    with torch.no_grad():
        graph = ov.convert_model(torch.export.export(OfSize(segmenter).eval(), (picture,)))
    compiled = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    probabilities = np.asarray(next(iter(compiled(picture.numpy()).values())))
    assert_agrees(probabilities, goldens["segmenters"][name], formulas)


@pytest.mark.parametrize("name", CSAIL_SEGMENTERS)
def test_the_number_of_parameters(name: str) -> None:
    with torch.device("meta"):  # numbers are not needed
        segmenter = build_csail(name)
    assert sum(parameter.numel() for parameter in segmenter.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", CSAIL_SEGMENTERS)
def test_a_checkpoint_without_the_sums_of_training_loads(name: str) -> None:
    with torch.device("meta"):
        segmenter = build_csail(name)
    sums = ("._tmp_running_mean", "._tmp_running_var", "._running_iter", ".num_batches_tracked")
    state = {key: value for key, value in segmenter.state_dict().items() if not key.endswith(sums)}
    assert len(state) < len(segmenter.state_dict())
    segmenter.load_state_dict(dict(state), assign=True)
    state.popitem()
    with pytest.raises(RuntimeError, match="Missing key"):
        segmenter.load_state_dict(state, assign=True)
