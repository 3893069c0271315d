"""Runs a recognizer over a table of pictures and measures what it says."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.prediction import top_k
from models.recognizer import Recognizer
from tools import metrics
from tools.data.manifest import Entry, PictureManifest
from tools.intervals import mca_interval, mean_interval

Picture = NDArray[np.uint8]

_BATCH = 8
_LISTED = 5  # scenes per picture in the table of predictions


@dataclass(frozen=True)
class Evaluation:
    """What a recognizer said about each picture of a manifest.

    Attributes:
        labels: the C scene names.
        probabilities: (N, C) float32, calibrated.
        targets: (N,) int64 positions in `labels`.
        manifest: the pictures, in the same order.
        known: (N,) how sure the model is that one of its scenes is shown, `Prediction.known`.
        unknown_threshold: value of `known` under which the model calls a picture unknown.
    """

    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    targets: NDArray[np.int64]
    manifest: PictureManifest
    known: NDArray[np.float64]
    unknown_threshold: float

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the most probable scene is the true one."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.targets)

    def summary(self) -> dict[str, Any]:
        """All figures, ready for JSON: overall, by source, by class, and the confusion matrix (row: true scene).

        Intervals are [low, high], 95 %, of `tools.intervals`.
        """
        confusion = metrics.confusion_matrix(self.probabilities.argmax(axis=1), self.targets, len(self.labels))
        shares = metrics.class_accuracies(confusion)
        return {
            **_figures(self.probabilities, self.targets),
            "top1_interval": list(mean_interval(self.correct)),
            "mca_interval": list(mca_interval(self.correct, self.targets)),
            "unknown_share": float((self.known < self.unknown_threshold).mean()),
            "sources": self._by_source(),
            "classes": {
                label: {"count": int(row.sum()), "top1": None if np.isnan(share) else float(share)}
                for label, row, share in zip(self.labels, confusion, shares, strict=True)
            },
            "labels": list(self.labels),
            "confusion": confusion.tolist(),
        }

    def predictions_csv(self) -> str:
        """The table `path,scene,top1,p1,...,top5,p5`, a line per picture; fewer pairs if there are fewer scenes."""
        listed = min(_LISTED, len(self.labels))
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["path", "scene", *(f"{kind}{i}" for i in range(1, listed + 1) for kind in ("top", "p"))])
        for entry, row in zip(self.manifest.entries, self.probabilities, strict=True):
            best = top_k(row, self.labels, listed)
            table.writerow([entry.path, entry.scene, *(cell for label, p in best for cell in (label, f"{p:.6f}"))])
        return text.getvalue()

    def _by_source(self) -> dict[str, dict[str, Any]]:
        sources = np.array([entry.source for entry in self.manifest.entries])
        return {str(source): self._of(sources == source) for source in np.unique(sources) if source}

    def _of(self, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        figures = _figures(self.probabilities[chosen], self.targets[chosen])
        return figures | {"top1_interval": list(mean_interval(self.correct[chosen]))}


def evaluate_pictures(
    recognizer: Recognizer,
    manifest: PictureManifest,
    progress: Callable[[int], None] = lambda _: None,
    change: Callable[[Picture, Entry], Picture] = lambda picture, _: picture,
) -> Evaluation:
    """Predict every picture of `manifest`.

    Args:
        recognizer: names the scenes.
        manifest: the pictures.
        progress: hears how many more are done.
        change: makes what is shown of a picture (H×W×3 uint8 RGB) and its line.

    Raises:
        ManifestError: a picture is missing or cannot be read, or a scene is none of the model's.
    """
    targets = manifest.targets(recognizer.labels)
    probabilities, known = [], []
    for start in range(0, len(manifest), _BATCH):
        batch = range(start, min(start + _BATCH, len(manifest)))
        shown = [change(manifest[i], manifest.entries[i]) for i in batch]
        for prediction in recognizer.predict_batch(shown):
            probabilities.append(prediction.probabilities)
            known.append(prediction.known)
        progress(len(batch))
    threshold = recognizer.package.manifest.calibration.unknown_threshold
    return Evaluation(recognizer.labels, np.stack(probabilities), targets, manifest, np.array(known), threshold)


def _figures(probabilities: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, Any]:
    figures: dict[str, Any] = metrics.summary(probabilities, targets)
    return figures | {"count": int(figures["count"])}
