"""What an evaluation leaves behind: result.json, classes.csv, confusion.png, reliability.png."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from streamer.files import write_bytes
from tools import metrics
from tools.evaluation import Evaluation
from tools.plots import check_matplotlib, confusion_png, reliability_png
from tools.reference_evaluation import ReferenceResult

_LIBRARIES = ("scene-streamer", "torch", "torchvision", "numpy", "pillow", "opencv-python-headless")
_FIGURES = (
    "count", "top1", "top1_interval", "top2", "top5", "mca", "mca_interval", "mca_absent_as_zero", "ece", "classes",
)  # fmt: skip


def result_of(result: ReferenceResult, split: str | None, command: Sequence[str]) -> dict[str, Any]:
    """Figures, named as those of any other evaluation, and all that is needed to have them again, ready for JSON."""
    summary = result.evaluation.summary()
    return {
        **{key: summary[key] for key in _FIGURES},
        "is_accuracy": result.doubt is None,
        **({"doubt": result.doubt} if result.doubt else {}),
        "split": split,
        "scenes": len(result.evaluation.labels),
        "scenes_present": sum(row["count"] > 0 for row in summary["classes"].values()),
        **({"sources": summary["sources"]} if summary["sources"] else {}),
        **result.details,
        "command": list(command),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        "machine": f"{platform.system()} {platform.machine()}",
    }


def write_report(folder: Path, result: ReferenceResult, values: dict[str, Any]) -> None:
    """Write all files into `folder`.

    Raises:
        OutputError: they cannot be written.
        MissingLibraryError: diagrams cannot be drawn here.
    """
    check_matplotlib()
    evaluation = result.evaluation
    probabilities, targets = evaluation.probabilities, evaluation.targets
    confusion = metrics.confusion_matrix(probabilities.argmax(axis=1), targets, len(evaluation.labels))
    bins = metrics.reliability(probabilities, targets)
    write_bytes(folder / "result.json", json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n")
    write_bytes(folder / "classes.csv", classes_csv(evaluation).encode())
    write_bytes(folder / "confusion.png", confusion_png(confusion, evaluation.labels))
    write_bytes(folder / "reliability.png", reliability_png(bins, values["ece"]))


def classes_csv(evaluation: Evaluation) -> str:
    """The table `index,scene,count,top1,top2,top5,most_confused_with,confused`; empty cells without pictures."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["index", "scene", "count", "top1", "top2", "top5", "most_confused_with", "confused"])
    probabilities, targets = evaluation.probabilities, evaluation.targets
    confusion = metrics.confusion_matrix(probabilities.argmax(axis=1), targets, len(evaluation.labels))
    for index, (label, row) in enumerate(zip(evaluation.labels, confusion, strict=True)):
        own = targets == index
        cells = [f"{metrics.top_k_accuracy(probabilities[own], targets[own], k):.4f}" for k in (1, 2, 5) if own.any()]
        wrong = row.copy()
        wrong[index] = 0
        other = [evaluation.labels[wrong.argmax()], wrong.max()] if wrong.any() else ["", ""]
        table.writerow([index, label, own.sum(), *(cells or ["", "", ""]), *other])
    return text.getvalue()
