"""What `benchmark --gpu` counts and measures, in small and on the device `cpu`: its sums, never its speeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference_models import blobs, made, write_package
from torch import nn

from config.schema import ModelSettings, SemanticsSettings
from models import load_recognizer
from models.engine import Engine
from models.errors import ModelError
from models.package import ModelPackage
from models.scene_parts import scene_parts
from models.segmentation import load_segmenter
from models.staged import LiveNetwork, StagedRecognizer
from models.staged_loading import on_one_device
from tools.benchmark.device_limits import Rates, Work, count_work, measure_rates
from tools.benchmark.gpu import Effort, lines, measure_gpu
from tools.benchmark.stages import Stopwatch, _predict, prepare, run_networks
from tools.commands import run_command_line

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = Effort(frames=4, batches=(1, 2), seconds=0, matrix_side=64, copied_bytes=1 << 16)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> ModelPackage:
    return ModelPackage(write_package(tmp_path_factory.mktemp("models") / "two", "two", made("two")))


def test_work_is_what_a_convolution_computes_and_moves():
    conv, x = nn.Conv2d(3, 4, 3, bias=False), torch.zeros(1, 3, 8, 8)
    work = count_work(lambda: conv(x).reshape(-1))
    assert work.flops == 2 * 4 * 36 * 3 * 9
    assert work.bytes == 4 * (x.numel() + conv.weight.numel() + 4 * 36)


def test_a_limit_is_the_larger_of_two_times():
    rates = Rates(flops=1e12, bytes=1e9, numbers="f32")
    assert rates.limit_s(Work(flops=2 * 10**12, bytes=10**9)) == (2, "arithmetic")
    assert rates.limit_s(Work(flops=10**12, bytes=3 * 10**9)) == (3, "memory")


def test_measuring_rates_leaves_settings_as_they_are():
    before = torch.backends.cuda.matmul.allow_tf32
    rates = measure_rates("cpu", "bf16", 32, 1 << 12)
    assert rates.flops > 0
    assert rates.bytes > 0
    assert rates.numbers == "bf16"
    assert torch.backends.cuda.matmul.allow_tf32 == before


def check(report: dict, batches: tuple[int, ...]) -> None:
    """What holds on any device."""
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p95"]
    assert tuple(batch["batch"] for batch in report["batches"]) == batches
    rates, first = report["rates"], report["batches"][0]
    for batch in report["batches"]:
        assert batch["gflop_a_frame"] == pytest.approx(first["gflop_a_frame"], rel=1e-3)
        arithmetic_ms = 1e12 * batch["gflop_a_frame"] / rates["flops"]
        memory_ms = 1e9 * batch["mb_a_frame"] / rates["bytes"]
        assert batch["limit_ms_a_frame"] == pytest.approx(max(arithmetic_ms, memory_ms), rel=0.01)
        assert batch["percent_of_limit"] == pytest.approx(
            100 * batch["limit_ms_a_frame"] / batch["ms_a_frame"], rel=0.01
        )
        assert batch["fps"] == pytest.approx(1000 / batch["ms_a_frame"], rel=0.01)


def test_a_joint_model_is_measured():
    report = measure_gpu(ModelSettings(device="cpu"), (90, 160), SMALL)
    check(report, SMALL.batches)
    assert (report["frame"], report["resizes_on"], report["precision"]) == ("160x90", "host", "f32")
    assert report["batches"][1]["mb_a_frame"] < report["batches"][0]["mb_a_frame"]  # the weights are read once
    text = "\n".join(lines(report))
    assert "frames of 160x90, resized on the host" in text
    assert "batch   2:" in text


def test_a_staged_model_is_measured(package):
    model = ModelSettings(name=str(package.folder), device="cpu", segmenter="scene18")
    report = measure_gpu(model, (240, 320), SMALL)
    check(report, SMALL.batches)
    assert "semantics by scene18" in next(lines(report))


def test_the_paper_s_networks_on_one_device_are_counted(package):
    parts, semantics = scene_parts(made("two")), SemanticsSettings()
    live, segmenter = LiveNetwork(parts, Engine("torch", "cpu")), load_segmenter("scene18", device="cpu")
    staged = StagedRecognizer(package, parts, segmenter, semantics, live, "torch")
    device = on_one_device(staged, live, segmenter, semantics)
    one, two = (count_work(lambda n=n: device.predict_batch([blobs()] * n)) for n in (1, 2))
    assert two.flops == 2 * one.flops > 10**9
    assert one.bytes < two.bytes < 2 * one.bytes
    # The stages of `benchmark --source` are those of the device there.
    watch = Stopwatch()
    found = _predict(device, blobs(), watch)
    assert list(watch.wall) == ["segment and encode", "classify"]
    assert np.array_equal(found.probabilities, device.predict(blobs()).probabilities)
    run_networks(device, prepare(device, blobs()))


def test_a_batch_that_the_memory_does_not_hold_is_named(monkeypatch):
    recognizer = load_recognizer(backend="torch", device="cpu")

    def predict_batch(frames):
        if len(frames) > 1:
            raise torch.OutOfMemoryError("no room")
        return type(recognizer).predict_batch(recognizer, frames)

    monkeypatch.setattr(recognizer, "predict_batch", predict_batch)
    monkeypatch.setattr("tools.benchmark.gpu.recognizer_for", lambda model: recognizer)
    report = measure_gpu(ModelSettings(device="cpu"), (90, 160), SMALL)
    assert report["batches"][1] == {"batch": 2}
    assert list(lines(report))[-1].endswith("batch   2: more than the device's memory holds")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_cuda_device_one_line_says_so():
    with pytest.raises(ModelError, match="no CUDA device"):
        measure_gpu(ModelSettings(device="cuda"), (90, 160), SMALL)


@pytest.mark.parametrize("more", [["--stem"], ["--source", "x.mp4"], ["--backend", "openvino"]])
def test_wrong_use(more, capsys):
    assert run_command_line(["benchmark", "--gpu", *more]) == 2
    assert "made frames" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_command_says_what_is_missing(capsys):
    assert run_command_line(["benchmark", "--gpu"]) == 1
    assert "torch finds no CUDA device here; use --device cpu" in capsys.readouterr().err


@needs_cuda
@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_a_cuda_device_is_measured(precision):
    report = measure_gpu(ModelSettings(device="cuda", precision=precision), (720, 1280), SMALL)
    check(report, SMALL.batches)
    assert report["resizes_on"] == "device"
    assert report["device"].startswith("cuda (")
