"""Staged models with all stages on one device: on the device `cpu`, against the same model a stage at a time."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from reference_models import ColourSegmenter, blobs, made, write_mobile, write_package
from torch import nn

from config.schema import SemanticsSettings
from models import load_recognizer
from models.backends.torch import TorchBackend
from models.engine import Engine
from models.package import ModelPackage
from models.recognizer import JointRecognizer
from models.scene_parts import scene_parts
from models.segmentation import load_segmenter
from models.staged import LiveNetwork, StagedRecognizer
from models.staged_loading import host_bound, on_one_device
from models.staged_on_device import StagedOnDevice
from models.torch_segmenters import TorchSegmenter
from streamer.sources.images import read_picture

pytestmark = pytest.mark.usefixtures("one_thread")

PICTURES = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_pictures = pytest.mark.skipif(not PICTURES.is_dir(), reason="needs the pictures of ../shared/data")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

# Measured on 25 real pictures with the networks below: probabilities differ by 0.0034 at most, class maps agree in
# 96.6 % of their pixels at least.
P_TOLERANCE = 0.01
MAP_AGREEMENT = 0.95


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def mobile(root) -> str:
    """The folder of a small segmenter of the paper's project, with weights by formula."""
    return str(write_mobile(root / "mobile"))


@pytest.fixture(scope="module")
def packages(root) -> dict[str, ModelPackage]:
    return {kind: ModelPackage(write_package(root / kind, kind, made(kind))) for kind in ("two", "rgb", "semantic")}


def both(package: ModelPackage, segmenter: str | None, device: str = "cpu", **semantics):
    """The same model a stage at a time on the CPU, and with all stages on a device."""
    wanted, kind = SemanticsSettings(**semantics), package.folder.name

    def parts_on(where: str):
        parts = scene_parts(made(kind))
        live = LiveNetwork(parts, Engine("torch", where))
        found = None if segmenter is None else load_segmenter(segmenter, device=where)
        return StagedRecognizer(package, parts, found, wanted, live, "torch"), live, found

    return parts_on("cpu")[0], on_one_device(*parts_on(device), wanted)


def agree(one, other) -> None:
    """Predictions of one picture, whatever the sizes of their class maps."""
    assert np.abs(one.probabilities - other.probabilities).max() < P_TOLERANCE
    assert one.view == pytest.approx(other.view, abs=2e-3)
    for name in ("gate", "activation"):
        here, there = getattr(one, name), getattr(other, name)
        assert (here is None) == (there is None)
        if here is not None:
            assert np.abs(here - there).max() < 0.05 * max(1.0, np.abs(there).max())
    assert (one.class_map is None) == (other.class_map is None)
    if one.class_map is not None:
        size = other.class_map.shape[::-1]
        seen = cv2.resize(one.class_map, size, interpolation=cv2.INTER_NEAREST_EXACT)
        assert other.class_map.dtype == np.uint8
        assert (seen == other.class_map).mean() > MAP_AGREEMENT
        scores = cv2.resize(one.class_scores, size, interpolation=cv2.INTER_AREA)
        assert other.class_scores.dtype == np.float32
        assert np.abs(scores - other.class_scores).mean() < 0.02


def real_pictures() -> list[np.ndarray]:
    folders = ["houses/val/kitchen", "intel/val", "scene8/val", "scene15/val", "places365_rooms/val"]
    return [read_picture(p) for folder in folders for p in sorted((PICTURES / folder).rglob("*.jpg"))[::40][:2]]


@needs_pictures
@pytest.mark.parametrize("name", ["scene18", "mobile"])
def test_real_pictures_are_named_alike(name, mobile, packages):
    host, device = both(packages["two"], mobile if name == "mobile" else name)
    pictures = real_pictures()
    assert len(pictures) == 10
    for picture, found in zip(pictures, device.predict_batch(pictures), strict=True):
        agree(host.predict(picture), found)


@pytest.mark.parametrize(
    "semantics", [{"label_base": 1}, {"eight_bit": False}, {"working_side": 200}, {"short_sides": (120, 160)}]
)
def test_the_settings_of_semantics_hold(semantics, mobile, packages):
    host, device = both(packages["two"], mobile, **semantics)
    agree(host.predict(blobs()), device.predict(blobs()))


@pytest.mark.parametrize(("kind", "segmenter"), [("rgb", None), ("rgb", "scene18"), ("semantic", "scene18")])
def test_networks_with_one_branch(kind, segmenter, packages):
    host, device = both(packages[kind], segmenter)
    assert device.segmenter == host.segmenter
    agree(host.predict(blobs()), device.predict(blobs()))
    agree(host.predict(blobs()), device.predict_with(blobs(), device.segment(blobs())))


def test_the_class_map_has_the_size_that_crops_are_taken_from(packages):
    _, device = both(packages["two"], "scene18")
    assert device.predict(blobs(600, 800)).class_map.shape == (256, 341)
    assert (device.resizes_on, device.device, device.engine) == ("device", "cpu", "torch")


def test_a_batch_of_mixed_sizes_is_named_picture_by_picture(packages):
    _, device = both(packages["two"], "scene18")
    pictures = [blobs(300, 400), blobs(256, 256, 1), blobs(300, 400, 2), blobs(31, 90, 3)]
    batched, segmented = device.predict_batch(pictures), device.segment_batch(pictures)
    for picture, found, segmentation in zip(pictures, batched, segmented, strict=True):
        single, again = device.predict(picture), device.predict_with(picture, segmentation)
        for other in (single, again):
            np.testing.assert_allclose(found.probabilities, other.probabilities, atol=1e-4)
            assert (found.class_map == other.class_map).mean() > 0.999
    assert device.predict_batch([]) == []


def test_an_earlier_segmentation_serves_a_later_picture_in_another_lane(packages):
    host, device = both(packages["two"], "scene18")
    first, later = blobs(), blobs(seed=1)
    found = device.lane().predict_with(later, device.segment(first))
    agree(host.predict_with(later, host.segment(first)), found)
    assert np.abs(found.probabilities - device.predict(later).probabilities).max() > 1e-3


def test_lanes_at_the_same_time_say_what_one_says(packages):
    _, device = both(packages["two"], "scene18")
    pictures = [blobs(seed=seed) for seed in range(4)]
    wanted = [device.predict(picture) for picture in pictures]
    lanes = [device.lane(), device.lane()]
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(lambda lane: lane.predict_batch(pictures), lanes):
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)


def test_it_explains_as_the_other_does(packages):
    host, device = both(packages["two"], "scene18")
    np.testing.assert_allclose(device.explain(blobs()).activation, host.explain(blobs()).activation, atol=1e-3)


def test_a_broken_segmenter_is_an_error(packages):
    _, device = both(packages["two"], "scene18")
    broken = device._chain._segmenter
    broken.exchange_network(lambda network: Broken(network))
    with pytest.raises(ValueError, match="NaN"):
        device.predict(blobs())
    with pytest.raises(ValueError, match="NaN"):
        device.segment(blobs())


class Broken(nn.Module):
    """A network whose logits are no numbers."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor):
        found = self.network(x)
        return found._replace(logits=found.logits * torch.nan)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(bad, packages):
    _, device = both(packages["rgb"], None)
    with pytest.raises(ValueError, match="HxWx3"):
        device.predict(bad)


# ------------------------------------------------------------------ which of the two it is


class OnHost(TorchSegmenter):
    """One that scales pictures by itself, as those of Hugging Face do."""

    def score_maps(self, picture):
        return []


def test_what_keeps_frames_on_the_host_is_said():
    assert host_bound(None) is None
    assert host_bound(load_segmenter("scene18", device="cpu")) is None
    assert host_bound(ColourSegmenter()) == "segmenter colours scales pictures on the host"
    own = OnHost("huggingface:x", None, (1, 2, 3), "cpu")
    assert host_bound(own) == "segmenter huggingface:x scales pictures on the host"
    with pytest.raises(NotImplementedError):
        own.frame_logits(torch.zeros(1, 2, 2, 3))


def test_on_a_cpu_nothing_changes(packages):
    found = load_recognizer(str(packages["two"].folder), backend="torch", device="cpu", segmenter="scene18")
    assert isinstance(found, StagedRecognizer)
    assert found.resizes_on == load_recognizer(backend="torch", device="cpu").resizes_on == "host"


def pretend_cuda(monkeypatch) -> None:
    """A device `cpu` that calls itself cuda, as far as the choice between the two goes."""
    monkeypatch.setattr("models.staged_loading.runs_on_cuda", lambda engine, device: engine == "torch")


def test_on_cuda_all_stages_go_to_the_device(packages, monkeypatch):
    pretend_cuda(monkeypatch)
    found = load_recognizer(str(packages["two"].folder), backend="torch", device="cpu", segmenter="scene18")
    assert isinstance(found, StagedOnDevice)


def test_on_cuda_the_log_says_what_keeps_frames_on_the_host(packages, monkeypatch, caplog):
    pretend_cuda(monkeypatch)
    monkeypatch.setattr("models.staged_loading.load_segmenter", lambda *args, **kinds: ColourSegmenter())
    with caplog.at_level(logging.WARNING):
        found = load_recognizer(str(packages["two"].folder), backend="torch", device="cpu", segmenter="scene18")
    assert isinstance(found, StagedRecognizer)
    (record,) = caplog.records
    assert "once for each stage: segmenter colours scales pictures on the host" in record.getMessage()


@needs_cuda
@pytest.mark.parametrize("name", ["scene18", "mobile"])
def test_a_cuda_device_says_what_the_host_says(name, mobile, packages):
    host, device = both(packages["two"], mobile if name == "mobile" else name, "cuda")
    pictures = [blobs(seed=seed) for seed in range(3)]
    lanes = [device, device.lane()]
    with ThreadPoolExecutor(2) as pool:
        batches = list(pool.map(lambda lane: lane.predict_batch(pictures), lanes))
    for found in batches:
        for picture, one in zip(pictures, found, strict=True):
            agree(host.predict(picture), one)
    wanted = host.predict_with(pictures[1], host.segment(pictures[0]))
    agree(wanted, lanes[1].predict_with(pictures[1], device.segment(pictures[0])))


@needs_cuda
def test_with_a_cuda_device_load_recognizer_takes_it(packages):
    found = load_recognizer(str(packages["two"].folder), device="cuda", segmenter="scene18")
    assert isinstance(found, StagedOnDevice)
    assert load_recognizer(device="cuda").resizes_on == "device"


# ------------------------------------------------------------------ joint models


@needs_pictures
def test_a_joint_model_that_resizes_on_the_device_says_the_same():
    host = load_recognizer("scene18", backend="torch", device="cpu")
    own = host.backend
    device = JointRecognizer(host.package, TorchBackend(own._network, "cpu", "f32", "device"))
    assert device.resizes_on == "device"
    pictures = [*real_pictures(), blobs(40, 900), np.zeros((1, 1, 3), np.uint8)]
    for one, other in zip(host.predict_batch(pictures), device.lane().predict_batch(pictures), strict=True):
        # Measured on 102 real pictures: 0.015 at most, and 97.1 % of a class map at least.
        assert np.abs(one.probabilities - other.probabilities).max() < 0.02
        assert (one.class_map == other.class_map).mean() > 0.96
    with pytest.raises(ValueError, match="HxWx3"):
        device.predict(np.zeros((4, 4), np.uint8))
