"""What a model says of every frame of a walkthrough, kept in a file beside it to compare smoothers on."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.cuts import thumbnail
from models.prediction import FloatArray
from models.recognizer import Recognizer
from streamer.files import write_bytes
from tools.walkthrough.predicting import frames_of
from tools.walkthrough.truth import Truth, TruthError, truth_path
from tools.walkthrough.writing import Progress


@dataclass(frozen=True)
class Predictions:
    """The raw output for one video.

    Attributes:
        pts: (N,) int64 in ticks of the truth, rising.
        probabilities: (N, C) float32, calibrated.
        p_unknown: (N,) float32; None where the model has no such.
        thumbnails: (N, 18, 32, 3) uint8, what the detection of cuts sees.
    """

    pts: NDArray[np.int64]
    probabilities: FloatArray
    p_unknown: FloatArray | None
    thumbnails: NDArray[np.uint8]

    @property
    def raw(self) -> NDArray[np.int64]:
        """(N,) the most probable scene of each frame alone."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)


def predict_video(
    recognizer: Recognizer,
    video: Path,
    truth: Truth,
    on_progress: Progress | None = None,
    interrupted: threading.Event | None = None,
) -> Predictions:
    """The predictions for a video, from its file `<stem>.<start of the weights' SHA-256>.npz` if there is one.

    Raises:
        SourceError: the video cannot be read.
        TruthError: it has not the frames that its truth tells of.
        OutputError: the file cannot be written.
        KeyboardInterrupt: `interrupted` was set.
    """
    cache = video.with_name(f"{video.stem}.{recognizer.package.weights_sha256[:12]}.npz")
    if cache.is_file() and cache.stat().st_mtime >= video.stat().st_mtime:
        return _read(cache)
    pts, rows, unknown, small = [], [], [], []
    for frame in frames_of(video):
        if interrupted is not None and interrupted.is_set():
            raise KeyboardInterrupt
        prediction = recognizer.predict(frame.image)
        pts.append(round(frame.pts * frame.time_base / truth.tick))
        rows.append(prediction.probabilities)
        unknown.append(prediction.p_unknown)
        small.append(thumbnail(frame.image).astype(np.uint8))
        if on_progress is not None:
            on_progress(len(pts), truth.frames)
    if len(pts) != truth.frames:
        raise TruthError(f"{truth_path(video)}: frames = {truth.frames}, but {video} has {len(pts)}; make both again")
    asks = unknown[0] is not None
    found = Predictions(
        np.array(pts, np.int64), np.stack(rows), np.array(unknown, np.float32) if asks else None, np.stack(small)
    )
    write_bytes(cache, _packed(found))
    return found


def _packed(found: Predictions) -> bytes:
    stream = io.BytesIO()
    arrays = {"pts": found.pts, "probabilities": found.probabilities, "thumbnails": found.thumbnails}
    if found.p_unknown is not None:
        arrays["p_unknown"] = found.p_unknown
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def _read(cache: Path) -> Predictions:
    with np.load(cache) as file:
        return Predictions(file["pts"], file["probabilities"], file.get("p_unknown"), file["thumbnails"])
