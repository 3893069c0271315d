"""How long a model takes for one frame, from the decoded picture to the prediction, beside a network that people know.

The known network is torchvision's ResNet-18 at 224×224 on OpenVINO in the same run, with as many threads; of it the
network alone is timed, of the model also the preprocessing. They take turns, so that what else the machine does hits
both.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from config.schema import Precision
from models import load_recognizer

_FRAME = (720, 1280)
_WARM_UP = 20


def measure_model(
    name: str, backend: str, device: str, precision: Precision, threads: int, repeats: int
) -> dict[str, Any]:
    """Median and 95th percentile in milliseconds of one 720p frame, and the ratio to ResNet-18.

    Args:
        name: a model that names scenes.
        backend, device, precision: as `load_recognizer` takes them.
        threads: of both networks.
        repeats: frames to time, after some to warm up.

    Raises:
        ModelError: there is no such model or device.
    """
    recognizer = load_recognizer(name, backend=backend, device=device, threads=threads, precision=precision)
    frame = made_frame(_FRAME)
    other = _resnet18(threads)
    works: dict[str, Callable[[], object]] = {"model": lambda: recognizer.predict(frame), "resnet18": other}
    times: dict[str, list[float]] = {key: [] for key in works}
    for _ in range(_WARM_UP + repeats):
        for key, work in works.items():
            began = time.perf_counter()
            work()
            times[key].append(1000 * (time.perf_counter() - began))
    timed = {key: values[_WARM_UP:] for key, values in times.items()}
    medians = {key: statistics.median(values) for key, values in timed.items()}
    return {
        "model": name,
        "engine": recognizer.engine,
        "device": recognizer.device,
        "threads": threads,
        "frame": f"{_FRAME[1]}x{_FRAME[0]}",
        "repeats": repeats,
        "ms": {key: {"median": round(medians[key], 2), "p95": round(_p95(timed[key]), 2)} for key in works},
        "ratio_to_resnet18": round(medians["model"] / medians["resnet18"], 2),
    }


def lines(report: dict[str, Any]) -> Iterator[str]:
    """That report for people."""
    name, frame = f"{report['model']} on {report['engine']}", report["frame"]
    what = {"model": f"{name}, from the {frame} frame", "resnet18": "ResNet-18 at 224"}
    for key, times in report["ms"].items():
        yield f"  {what[key]:<48} median {times['median']:7.2f} ms, p95 {times['p95']:7.2f} ms"
    yield f"  {report['ratio_to_resnet18']} times ResNet-18, {report['threads']} threads"


def made_frame(size: tuple[int, int]) -> NDArray[np.uint8]:
    """A frame of `size` = (H, W) with structures of all sizes, uint8 RGB."""
    import cv2

    rng = np.random.default_rng(0)
    layers = [rng.normal(0, 40, (size[0] // step + 1, size[1] // step + 1, 3)) for step in (1, 8, 64)]
    total = sum(cv2.resize(layer, size[::-1], interpolation=cv2.INTER_LINEAR) for layer in layers)
    return np.asarray(np.clip(total + 128, 0, 255), np.uint8)


def _resnet18(threads: int) -> Callable[[], object]:
    import torch
    from torchvision.models import resnet18

    from models.openvino_library import ov

    picture = torch.zeros(1, 3, 224, 224)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing announces its retirement
        model = ov.convert_model(resnet18().eval(), example_input=picture, input=[(1, 3, 224, 224)])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    values = picture.numpy()
    return lambda: request.infer([values])


def _p95(values: list[float]) -> float:
    return float(np.percentile(values, 95))
