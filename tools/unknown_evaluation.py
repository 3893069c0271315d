"""How well a model tells pictures of none of its scenes from those of one: `datasets unknowns` against a manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.recognizer import Recognizer
from tools.data.manifest import PictureManifest
from tools.data.unknowns import REPORT, part_in
from tools.unknown_measures import measure

_BATCH = 8


def read_unknowns(table: Path) -> PictureManifest:
    """The pictures of the report part; `scene` of an entry is its kind.

    Raises:
        ManifestError: there is no such table, or a column is missing.
    """
    whole = PictureManifest.read(table, scene_column="kind")
    kept = tuple(entry for entry in whole.entries if part_in(table, entry) == REPORT)
    return PictureManifest(whole.file, whole.root, kept)


def evaluate_unknowns(
    recognizer: Recognizer,
    unknowns: PictureManifest,
    known: NDArray[np.floating[Any]],
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """AUROC and shares called unknown by kind, ready for JSON; see `tools.unknown_measures`.

    Args:
        recognizer: the model.
        unknowns: pictures of none of its scenes.
        known: (N,) `Prediction.known` of pictures of its scenes.
        progress: hears how many more are done.

    Raises:
        ManifestError: a picture is missing or cannot be read.
    """
    found = []
    for start in range(0, len(unknowns), _BATCH):
        batch = range(start, min(start + _BATCH, len(unknowns)))
        found += [prediction.known for prediction in recognizer.predict_batch([unknowns[i] for i in batch])]
        progress(len(batch))
    kinds = [entry.scene for entry in unknowns.entries]
    threshold = recognizer.package.manifest.calibration.unknown_threshold
    return asdict(measure(1 - np.array(found), kinds, 1 - known.astype(np.float64), 1 - threshold))
