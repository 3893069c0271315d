"""How much sooner the sparse semantic stem is than the dense convolution that it replaces, in one run here."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from models.encoding import SEMANTIC_CLASSES
from models.layers.reference_branches import SIDE
from models.layers.semantic_stem import SemanticConv, Top3

_OUTPUTS = 64
_CELL = 8  # pixels; a segmentation's regions are wider


def measure_stem(batch: int, repeats: int) -> dict[str, Any]:
    """Median milliseconds a picture, dense and sparse in turns, forwards and with the weight's gradient.

    The pictures are the hardest that a segmentation can give: every cell has other classes, and no score is 0.
    """
    random = torch.Generator().manual_seed(0)
    cells = torch.randint(0, SEMANTIC_CLASSES - 1, (batch, 3, SIDE // _CELL, SIDE // _CELL), generator=random)
    labels = cells.repeat_interleave(_CELL, 2).repeat_interleave(_CELL, 3).to(torch.uint8)
    top3 = Top3(labels, torch.rand(labels.shape, generator=random).clamp_min(0.01))
    dense, conv = top3.dense(SEMANTIC_CLASSES), SemanticConv(SEMANTIC_CLASSES, _OUTPUTS)
    towards = torch.randn(batch, _OUTPUTS, SIDE // 2, SIDE // 2, generator=random)
    times: dict[str, list[float]] = {}
    for _ in range(repeats + 1):
        for name, semantic in (("dense", dense), ("sparse", top3)):
            times.setdefault(f"{name} forward", []).append(_milliseconds(lambda s=semantic: _forward(conv, s)))
            both = _milliseconds(lambda s=semantic: conv(s).backward(towards))
            times.setdefault(f"{name} forward and backward", []).append(both)
    medians = {name: round(statistics.median(values[1:]) / batch, 2) for name, values in times.items()}
    with torch.no_grad():
        difference = float((conv(top3) - conv(dense)).abs().max())
    return {
        "batch": batch,
        "threads": torch.get_num_threads(),
        "torch": version("torch"),
        "ms_a_picture": medians,
        "times_sooner": {
            work: round(medians[f"dense {work}"] / medians[f"sparse {work}"], 1)
            for work in ("forward", "forward and backward")
        },
        "largest_difference": difference,
    }


def lines(report: dict[str, Any]) -> Iterator[str]:
    """That report for people."""
    yield f"torch {report['torch']}, {report['threads']} threads, batch {report['batch']}"
    for work, milliseconds in report["ms_a_picture"].items():
        yield f"  {work:<28} {milliseconds:8.2f} ms a picture"
    for work, times in report["times_sooner"].items():
        yield f"  {work}: {times} times sooner"
    yield f"  largest difference {report['largest_difference']:.1e}"


def _forward(conv: SemanticConv, semantic: Tensor | Top3) -> None:
    with torch.no_grad():
        conv(semantic)


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)
