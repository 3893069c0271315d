"""Every backend runs the packaged model and says the same of a picture."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_models import ColourSegmenter, blobs, made, write_mobile, write_package
from torch import nn

from config.errors import UnknownPluginError
from config.schema import SemanticsSettings
from models import load_recognizer
from models.backends import BACKENDS
from models.compiled_segmenter import compile_segmenter
from models.engine import Engine
from models.errors import ModelError
from models.package import ModelPackage
from models.scene_parts import scene_parts
from models.segmentation import load_segmenter
from models.staged import LiveNetwork, StagedRecognizer
from streamer.sources.images import read_picture

pytestmark = pytest.mark.usefixtures("one_thread")

PICTURES = Path(__file__).resolve().parents[3] / "shared" / "data"


def made_pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    smooth = np.linspace(0, 255, 300 * 400 * 3).reshape(300, 400, 3).astype(np.uint8)
    return [smooth, rng.integers(0, 255, (120, 90, 3), dtype=np.uint8), np.zeros((1, 1, 3), np.uint8)]


def real_pictures() -> list[np.ndarray]:
    folders = ["houses/val/kitchen", "intel/val", "scene8/val", "scene15/val", "places365_rooms/val"]
    paths = [path for folder in folders for path in sorted((PICTURES / folder).rglob("*.jpg"))[::40][:8]]
    return [read_picture(path) for path in paths]


@pytest.fixture(scope="module", params=BACKENDS.names())
def recognizer(request):
    return load_recognizer("scene18", backend=request.param, device="cpu")


@pytest.fixture(scope="module")
def reference():
    return load_recognizer("scene18", backend="torch", device="cpu")


def test_a_prediction_is_whole(recognizer):
    for picture in made_pictures():
        prediction = recognizer.predict(picture)
        assert prediction.probabilities.dtype == np.float32
        assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert prediction.class_map.dtype == np.uint8
        assert prediction.class_map.shape == prediction.class_scores.shape
        assert prediction.class_map.max() <= 150
        assert 0 <= prediction.class_scores.min() <= prediction.class_scores.max() <= 1.0001
        assert 0 <= prediction.gate.min() <= prediction.gate.max() <= 1.0001
        assert prediction.activation.shape == prediction.gate.shape
        assert prediction.activation.dtype == np.float32


def agree(one, other, picture) -> None:
    here, there = one.predict(picture), other.predict(picture)
    np.testing.assert_allclose(here.probabilities, there.probabilities, atol=1e-2)
    assert (here.class_map == there.class_map).mean() > 0.98
    if here.scene == there.scene:
        np.testing.assert_allclose(here.activation, there.activation, atol=0.05)


def test_backends_agree_on_made_pictures(recognizer, reference):
    for picture in made_pictures():
        agree(recognizer, reference, picture)


@pytest.mark.skipif(not PICTURES.is_dir(), reason="needs the pictures of ../shared/data")
def test_backends_agree_on_real_pictures(recognizer, reference):
    pictures = real_pictures()
    assert len(pictures) >= 20
    for picture in pictures:
        agree(recognizer, reference, picture)


def test_a_batch_equals_its_pictures(recognizer):
    pictures = made_pictures()
    for single, batched in zip(map(recognizer.predict, pictures), recognizer.predict_batch(pictures), strict=True):
        np.testing.assert_allclose(single.probabilities, batched.probabilities, atol=1e-4)


def test_predictions_do_not_share_memory(recognizer):
    first = recognizer.predict(made_pictures()[0])
    before = first.class_scores.copy()
    recognizer.predict(made_pictures()[1])
    np.testing.assert_array_equal(first.class_scores, before)


@pytest.mark.parametrize("picture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(recognizer, picture):
    with pytest.raises(ValueError, match="HxWx3"):
        recognizer.predict(picture)


def test_a_device_that_does_not_exist_is_named(recognizer):
    with pytest.raises(ModelError, match="NPU9"):
        load_recognizer("scene18", backend=recognizer.backend.name, device="NPU9")


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(UnknownPluginError, match="openvino"):
        load_recognizer(backend="no_such")
    with pytest.raises(UnknownPluginError, match="lite_fpn"):
        load_recognizer(segmenter="no_such")
    with pytest.raises(ModelError, match="scene18"):
        load_recognizer("no_such")


def test_auto_on_a_cpu_leaves_torch_alone(monkeypatch):
    monkeypatch.setattr("models.recognizer._NVIDIA_DEVICE", PICTURES / "no_such_device")
    assert load_recognizer().engine in ("openvino", "onnxruntime")


def test_auto_asks_torch_where_there_is_an_nvidia_driver(monkeypatch):
    monkeypatch.setattr("models.recognizer._NVIDIA_DEVICE", Path(__file__))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert load_recognizer().engine != "torch"


# ------------------------------------------------------------------ lanes and precisions


def side_by_side(lanes, work):
    """What `work` gives of each lane, all of them at it at the same time."""
    with ThreadPoolExecutor(len(lanes)) as pool:
        return list(pool.map(work, lanes))


def test_lanes_at_the_same_time_say_what_one_says(recognizer):
    pictures = [blobs(seed=seed) for seed in range(6)]
    wanted = [recognizer.predict(picture) for picture in pictures]
    lanes = [recognizer.lane() for _ in range(2)]
    assert {lane.engine for lane in lanes} == {recognizer.engine}
    for found in side_by_side(lanes, lambda lane: [lane.predict(picture) for picture in pictures * 3]):
        for one, other in zip(found, wanted * 3, strict=True):
            np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
            np.testing.assert_allclose(one.class_scores, other.class_scores, atol=1e-4)


def test_a_backend_that_is_told_of_its_lanes_says_the_same(recognizer, reference):
    several = load_recognizer("scene18", backend=recognizer.engine, device="cpu", threads=2, lanes=2)
    for picture in made_pictures():
        agree(several.lane(), reference, picture)


def test_a_lane_does_not_touch_another_one_s_results(recognizer):
    one, other = recognizer, recognizer.lane()
    first = one.predict(made_pictures()[0])
    before = first.class_scores.copy()
    other.predict(made_pictures()[1])
    np.testing.assert_array_equal(first.class_scores, before)


def test_unless_asked_the_networks_compute_in_float32(recognizer):
    assert recognizer.backend.precision == "f32"


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_bfloat16_says_nearly_the_same(engine, reference):
    try:
        rounded = load_recognizer("scene18", backend=engine, device="cpu", precision="bf16")
    except ModelError as error:
        pytest.skip(str(error))
    assert rounded.backend.precision == "bf16"
    for picture in made_pictures():
        # These are like no picture that the network has learnt, so it wavers between scenes.
        difference = np.abs(rounded.predict(picture).probabilities - reference.predict(picture).probabilities)
        assert 0 < difference.mean() < 0.05


def test_a_precision_that_a_cpu_does_not_have_is_refused(recognizer):
    with pytest.raises(ModelError, match=r"computes in f32.*not in f16; use --precision f32"):
        load_recognizer("scene18", backend=recognizer.engine, device="cpu", precision="f16")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_a_cuda_device_says_the_same_in_batches_and_lanes(precision, reference):
    recognizer = load_recognizer("scene18", backend="torch", device="cuda", precision=precision)
    pictures, tolerance = made_pictures(), {"f32": 1e-2, "bf16": 0.1}[precision]
    wanted = [reference.predict(picture).probabilities for picture in pictures]
    lanes = [recognizer.lane() for _ in range(2)]
    for found in side_by_side(lanes, lambda lane: lane.predict_batch(pictures) + lane.predict_batch(pictures[:1])):
        for one, other in zip(found, [*wanted, wanted[0]], strict=True):
            np.testing.assert_allclose(one.probabilities, other, atol=tolerance)


# ------------------------------------------------------------------ any torch module


class Two(nn.Module):
    """Two outputs of two inputs of unlike types."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor, flags: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.conv(x) * flags[:, None].float()
        return y, y.mean((2, 3))


@pytest.fixture(scope="module", params=BACKENDS.names())
def engine(request):
    return request.param


def compiled(engine, module, examples, **params):
    return BACKENDS.load(engine).compile_module(
        BACKENDS.params(engine, {"device": "cpu"} | params), module, examples
    )  # fmt: skip


def test_a_compiled_module_takes_any_shape_and_gives_copies(engine):
    torch.manual_seed(0)
    module, rng = Two(), np.random.default_rng(0)
    run = compiled(engine, module, (torch.zeros(1, 3, 8, 6), torch.zeros(1, 8, 6, dtype=torch.uint8)))
    kept = []
    for size in [(8, 6), (5, 9), (8, 6), (4, 4), (3, 3), (2, 2), (7, 7), (8, 6)]:
        x, flags = rng.random((1, 3, *size), dtype=np.float32), rng.integers(0, 2, (1, *size)).astype(np.uint8)
        with torch.inference_mode():
            wanted = module(torch.from_numpy(x), torch.from_numpy(flags))
        found = run(x, flags)
        kept.append((found, [part.numpy() for part in wanted]))
    for found, wanted in kept:
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_module_with_one_output_gives_one(engine):
    (found,) = compiled(engine, nn.ReLU(), (torch.zeros(1, 2),))(np.array([[-1, 2]], np.float32))
    np.testing.assert_array_equal(found, [[0, 2]])


def test_a_module_on_no_device(engine):
    with pytest.raises(ModelError, match="NPU9"):
        compiled(engine, nn.ReLU(), (torch.zeros(1, 2),), device="NPU9")


@pytest.fixture(scope="module", params=["two", "rgb", "semantic"])
def staged(request, tmp_path_factory):
    """Makes the live recognizer of one of the reference's networks, with a segmenter that costs nothing."""
    network = made(request.param)
    package = ModelPackage(write_package(tmp_path_factory.mktemp("models") / request.param, request.param, network))

    def make(engine):
        parts = scene_parts(network)
        live = LiveNetwork(parts, Engine(engine, "cpu"))
        return StagedRecognizer(package, parts, ColourSegmenter(), SemanticsSettings(), live, engine)

    return make


def test_backends_agree_on_the_reference_s_networks(staged, engine):
    one, other = staged(engine), staged("torch")
    assert one.engine == engine
    for seed in range(2):
        here, there = one.predict(blobs(seed=seed)), other.predict(blobs(seed=seed))
        np.testing.assert_allclose(here.probabilities, there.probabilities, atol=1e-4)
        np.testing.assert_array_equal(here.class_map, there.class_map)
        for name in ("gate", "activation"):
            mine, theirs = getattr(here, name), getattr(there, name)
            assert (mine is None) == (theirs is None)
            if mine is not None:
                np.testing.assert_allclose(mine, theirs, atol=1e-3 * max(1.0, np.abs(theirs).max()))


def test_lanes_of_the_reference_s_networks_say_what_one_says(staged, engine):
    one = staged(engine)
    pictures = [blobs(seed=seed) for seed in range(3)]
    wanted = [one.predict(picture) for picture in pictures]
    lanes = [one.lane() for _ in range(2)]
    for found in side_by_side(lanes, lambda lane: [lane.predict(picture) for picture in pictures]):
        for here, there in zip(found, wanted, strict=True):
            np.testing.assert_allclose(here.probabilities, there.probabilities, atol=1e-5)


def test_openvino_tells_nobody_about_us():
    script = (
        "import sys, torch; from models.backends import BACKENDS; b = BACKENDS.load('openvino'); "
        "b.compile_module(b.Params(), torch.nn.ReLU(), (torch.zeros(1, 2),)); "
        "sys.exit(any(name.startswith('openvino_telemetry.') for name in sys.modules))"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, check=False).returncode == 0


def test_onnxruntime_tells_nobody_about_us(tmp_path):
    """Where it does, it leaves an identity of the machine in the home folder and a session in the temporary one."""
    pytest.importorskip("onnxruntime")
    silent_anyway = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY")
    environment = {name: value for name, value in os.environ.items() if name not in silent_anyway}
    subprocess.run(
        [sys.executable, "-c", "import models.backends.onnxruntime"],
        cwd=Path(__file__).resolve().parents[2],
        env=environment | {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        check=True,
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def mobile(tmp_path_factory) -> str:
    """The folder of a small segmenter with weights by formula."""
    return str(write_mobile(tmp_path_factory.mktemp("segmenters") / "mobile"))


@pytest.mark.parametrize("name", ["scene18", "mobile"])
def test_a_segmenter_says_the_same_on_every_backend(name, engine, mobile):
    name = mobile if name == "mobile" else name
    plain, compiled = load_segmenter(name, device="cpu"), load_segmenter(name, device="cpu")
    compile_segmenter(compiled, Engine(engine, "cpu"))
    for shape in [(96, 130), (64, 64)]:
        one, other = plain.encode(blobs(*shape)), compiled.encode(blobs(*shape))
        assert (one.labels == other.labels).mean() > 0.995
        assert np.abs(one.scores.astype(int) - other.scores).max() <= 1
        assert len(np.unique(one.labels[0])) > 1


def test_a_segmenter_of_another_library_stays_as_it_is(engine):
    segmenter = ColourSegmenter()
    compile_segmenter(segmenter, Engine(engine, "cpu"))
    assert segmenter.encode(blobs()).labels.shape == (3, *blobs().shape[:2])


@pytest.mark.parametrize("name", ["scene18", "mobile"])
def test_lanes_of_a_segmenter_say_what_one_says(name, engine, mobile):
    segmenter = load_segmenter(mobile if name == "mobile" else name, device="cpu")
    compile_segmenter(segmenter, Engine(engine, "cpu"))
    pictures = [blobs(64, 64, seed=seed) for seed in range(2)]
    wanted = [segmenter.encode(picture) for picture in pictures]
    lanes = [segmenter.lane() for _ in range(2)]
    for found in side_by_side(lanes, lambda lane: [lane.encode(picture) for picture in pictures]):
        for here, there in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(here.labels, there.labels)
            np.testing.assert_array_equal(here.scores, there.scores)
