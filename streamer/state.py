"""`SceneState`: what the pipeline knows about one frame; messages, sinks and `open_stream` carry it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.prediction import Prediction, top_k
from models.smoothing.base import Belief
from models.transitions import Transition
from streamer.frame import Frame


@dataclass(frozen=True, slots=True)
class Drops:
    """Frames of a source lost so far, by cause.

    Attributes:
        decode: the decoder gave them up as damaged.
        queue: replaced by a fresher frame before the networks took them (`--policy latest`).
        infer: the networks failed on them.
    """

    decode: int = 0
    queue: int = 0
    infer: int = 0


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model spoke: its name, SHA-256 of its weights, SHA-256 of its label list, the segmenter's name."""

    name: str
    sha256: str
    labels_sha256: str
    segmenter: str | None


@dataclass(frozen=True, slots=True)
class SceneState:
    """The scene of one frame.

    Attributes:
        frame: the frame that was looked at.
        seq: 0, 1, 2... over the processed frames of the source in this run; the `seq` of its label message.
        prediction: the networks' answer for this frame alone.
        belief: the smoother's answer, over time.
        drops: frames lost so far.
        cut: the picture has given way to another with this frame; `transition` says how.
        model: which model spoke.
        smoother: the smoother's kind and parameters.
        groups: smoothed probability per group of scenes ("indoor", "outdoor"); groups that share out all scenes sum to
            1 - p(unknown).
        reused: the class map is a previous frame's; None where the segmentation is never reused.
        transition: what `cut` stands for: a hard cut at this very frame, or a fade or dissolve that is over.
    """

    frame: Frame
    seq: int
    prediction: Prediction
    belief: Belief
    drops: Drops
    cut: bool
    model: ModelIdentity
    smoother: Mapping[str, object]
    groups: Mapping[str, float]
    reused: bool | None = None
    transition: Transition | None = None

    @property
    def source(self) -> str:
        """Name of the source."""
        return self.frame.source

    @property
    def scene(self) -> str:
        """The stable scene."""
        return self.prediction.labels[self.belief.scene]

    @property
    def p(self) -> float:
        """Smoothed probability of the stable scene."""
        return self.belief.p

    @property
    def unknown(self) -> bool:
        """No scene is probable enough to be believed."""
        return self.belief.unknown

    @property
    def changed(self) -> bool:
        """The stable scene changed with this frame (also true for the first of an epoch)."""
        return self.belief.changed

    @property
    def held(self) -> bool:
        """Another scene leads the smoothed probabilities, but not clearly or long enough yet."""
        return self.belief.held

    @property
    def dwell_s(self) -> float:
        """Seconds of stream time for which the stable scene has been the same."""
        return self.belief.dwell_s

    @property
    def raw(self) -> list[tuple[str, float]]:
        """Top-5 of this frame alone."""
        return self.prediction.top(5)

    @property
    def smoothed(self) -> list[tuple[str, float]]:
        """Top-5 over time."""
        return top_k(self.belief.probabilities, self.prediction.labels, 5)
