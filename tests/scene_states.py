"""Scene states made by hand, for tests of what comes after the networks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from models.prediction import Prediction
from models.smoothing.base import Belief
from models.transitions import Moment, Transition
from streamer.frame import Frame
from streamer.sources.base import SourceInfo
from streamer.state import Drops, ModelIdentity, SceneState

LABELS = ("bedroom", "kitchen", "living_room", "street", "forest", "office")


def gradient(width: int, height: int, shift: int = 0) -> np.ndarray:
    """A smooth picture without two equal columns side by side, H×W×3 uint8."""
    x = (np.arange(width) * 255 / max(1, width - 1) + shift) % 256
    y = np.arange(height) * 255 / max(1, height - 1)
    planes = np.broadcast_arrays(x[None, :], y[:, None], np.full((1, 1), 120.0))
    return np.stack(planes, axis=-1).astype(np.uint8)


def make_state(
    image: np.ndarray | None = None,
    *,
    scene: str = "living_room",
    p: float = 0.7,
    raw: str | None = None,
    pts: int = 0,
    time_base: Fraction = Fraction(1, 25),
    epoch: int = 0,
    seq: int = 0,
    dwell_s: float = 3.0,
    held: bool = False,
    unknown: bool = False,
    cut: bool = False,
    transition: Transition | None = None,
    class_map: np.ndarray | None = None,
    gate: np.ndarray | None = None,
    activation: np.ndarray | None = None,
) -> SceneState:
    """A state whose stable scene is `scene` with probability `p`; the frame alone says `raw`.

    `cut` is a hard cut at the frame, `transition` another that is over with it.
    """
    index = LABELS.index(scene)
    here = Moment(seq, pts, float(pts * time_base))
    return SceneState(
        frame=Frame(gradient(64, 48) if image is None else image, pts, time_base, seq, "clip", epoch, 0, "file"),
        seq=seq,
        prediction=Prediction(
            _peak(LABELS.index(raw or scene), p), LABELS, class_map=class_map, gate=gate, activation=activation
        ),
        belief=Belief(_peak(index, p), index, p, 0, dwell_s, False, held, unknown),
        drops=Drops(),
        cut=cut or transition is not None,
        model=ModelIdentity("scene18", "a" * 64, "b" * 64, "lite_fpn"),
        smoother={"kind": "exponential"},
        groups={},
        transition=Transition("hard", here, here) if cut else transition,
    )


def gradual(kind: str, start: int, end: int, time_base: Fraction = Fraction(1, 25)) -> Transition:
    """A fade or dissolve from one frame to another, whose numbers are their pts."""
    return Transition(kind, *(Moment(pts, pts, float(pts * time_base)) for pts in (start, end)))


def make_info(width: int = 64, height: int = 48, time_base: Fraction = Fraction(1, 25)) -> SourceInfo:
    """What is known of the source that `make_state`'s frames come from."""
    return SourceInfo("clip", "clip.mp4", False, width, height, time_base, Fraction(25), None)


def _peak(index: int, p: float) -> np.ndarray:
    probabilities = np.full(len(LABELS), (1 - p) / (len(LABELS) - 1), np.float32)
    probabilities[index] = p
    return probabilities
