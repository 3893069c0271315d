"""A model on a CUDA device: how long a frame takes, how many a second go in batches, and how near that is to the limit.

Times are of whole frames: from a picture in the host's memory to its prediction there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from config.schema import ModelSettings
from models.devices import torch_device
from models.recognizer import JointRecognizer, Recognizer
from streamer.app import recognizer_for
from streamer.frame import Picture
from tools.benchmark.beside_resnet import made_frame
from tools.benchmark.device_limits import Rates, Work, count_work, measure_rates
from tools.benchmark.figures import percentiles

_WARM_UP = 3  # calls


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        frames: single ones that are timed.
        batches: how many frames go together.
        seconds: that each batch size is repeated for, at least.
        matrix_side, copied_bytes: see `measure_rates`.
    """

    frames: int = 200
    batches: Sequence[int] = (1, 8, 32)
    seconds: float = 3.0
    matrix_side: int = 8192
    copied_bytes: int = 1 << 30


_ON_CPU = Effort(frames=50, matrix_side=2048, copied_bytes=1 << 28)


def measure_gpu(model: ModelSettings, size: tuple[int, int], effort: Effort | None = None) -> dict[str, Any]:
    """Latency, frames a second and distance to the device's limit.

    Args:
        model: which one, in what precision, and the device; torch runs it.
        size: (H, W) of the frames.
        effort: how much to measure; default: what suits the device.

    Raises:
        ModelError: there is no such model or device.
    """
    device = torch_device(model.device)  # before anything is loaded
    effort = effort or (Effort() if device.startswith("cuda") else _ON_CPU)
    recognizer = recognizer_for(model.model_copy(update={"backend": "torch"}))
    frame = made_frame(size)
    precision = _precision(recognizer, model)
    rates = measure_rates(recognizer.device, precision, effort.matrix_side, effort.copied_bytes)
    latency = percentiles(_times_ms(lambda: recognizer.predict(frame), effort.frames))
    return {
        "model": model.name,
        "segmenter": recognizer.segmenter,
        "device": _device(recognizer.device),
        "precision": precision,
        "resizes_on": recognizer.resizes_on,
        "frame": f"{size[1]}x{size[0]}",
        "latency_ms": {"p50": latency.p50, "p95": latency.p95},
        "rates": {**asdict(rates), "flops": round(rates.flops), "bytes": round(rates.bytes)},
        "batches": [_batch(recognizer, [frame] * count, rates, effort.seconds) for count in effort.batches],
    }


def lines(report: dict[str, Any]) -> Iterator[str]:
    """That report for people."""
    by = "" if report["segmenter"] is None else f", semantics by {report['segmenter']}"
    yield f"{report['model']}{by}, {report['precision']}, on {report['device']}"
    yield f"  frames of {report['frame']}, resized on the {report['resizes_on']}"
    yield f"  one frame: p50 {report['latency_ms']['p50']:.2f} ms, p95 {report['latency_ms']['p95']:.2f} ms"
    rates = report["rates"]
    yield (
        f"  the device at best: {rates['flops'] / 1e12:.2f} TFLOP/s in {rates['numbers']}, "
        f"{rates['bytes'] / 1e9:.1f} GB/s"
    )
    for batch in report["batches"]:
        yield _batch_line(batch)


def _batch_line(batch: dict[str, Any]) -> str:
    if "fps" not in batch:
        return f"  batch {batch['batch']:>3}: more than the device's memory holds"
    return (
        f"  batch {batch['batch']:>3}: {batch['fps']:9.1f} frames/s, {batch['ms_a_frame']:.3f} ms a frame "
        f"({batch['gflop_a_frame']:.1f} GFLOP, {batch['mb_a_frame']:.0f} MB); limit {batch['limit_ms_a_frame']:.3f} ms "
        f"by {batch['bound_by']}, {batch['percent_of_limit']:.1f} % of it reached"
    )


def _batch(recognizer: Recognizer, frames: Sequence[Picture], rates: Rates, seconds: float) -> dict[str, Any]:
    """The figures of one batch size; only its size where the memory of the device does not do."""
    count = len(frames)
    try:
        ms = _mean_ms(lambda: recognizer.predict_batch(frames), seconds) / count
        work = _work(recognizer, frames)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return {"batch": count}
    limit_s, bound_by = rates.limit_s(work)
    limit_ms = 1000 * limit_s / count
    return {
        "batch": count,
        "fps": round(1000 / ms, 2),
        "ms_a_frame": round(ms, 4),
        "gflop_a_frame": round(work.flops / count / 1e9, 3),
        "mb_a_frame": round(work.bytes / count / 1e6, 2),
        "limit_ms_a_frame": round(limit_ms, 5),
        "bound_by": bound_by,
        "percent_of_limit": round(100 * limit_ms / ms, 2),
    }


def _work(recognizer: Recognizer, frames: Sequence[Picture]) -> Work:
    """The work of one batch. Of a joint model's that is the networks', which run as a recorded graph otherwise."""
    if not isinstance(recognizer, JointRecognizer):
        return count_work(lambda: recognizer.predict_batch(frames))
    from models.backends.torch import TorchBackend

    backend = recognizer.backend
    assert isinstance(backend, TorchBackend)
    small = torch.from_numpy(recognizer.package.preprocess.squash(frames[0])).to(backend.device)
    return count_work(lambda: backend.forward(small.expand(len(frames), *small.shape)))


def _precision(recognizer: Recognizer, model: ModelSettings) -> str:
    if isinstance(recognizer, JointRecognizer):
        return recognizer.backend.precision
    return "f32" if model.precision == "auto" else model.precision


def _device(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    return f"{device} ({torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda})"


def _times_ms(work: Callable[[], object], count: int) -> list[float]:
    return [_time_ms(work) for _ in range(_WARM_UP + count)][_WARM_UP:]


def _mean_ms(work: Callable[[], object], seconds: float) -> float:
    """Of as many calls as `seconds` have room for, one at least, once warm."""
    _times_ms(work, 0)
    times: list[float] = []
    while not times or sum(times) < 1000 * seconds:
        times.append(_time_ms(work))
    return statistics.fmean(times)


def _time_ms(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began_s)
