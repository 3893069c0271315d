"""`Prediction`: what the networks say about one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class View(NamedTuple):
    """A part of a picture, as shares of its height and width, 0..1 from the left upper corner."""

    top: float
    left: float
    bottom: float
    right: float


WHOLE = View(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Scene probabilities of one picture and what they rest on.

    Attributes:
        probabilities: (C,) float32, calibrated, summing to 1: which scene, if it is one of them.
        labels: the C scene names, in the order of `probabilities`.
        class_map: (h, w) uint8 ADE20K class ids 1..150, 0 for none of the segmenter's classes; None without semantics.
            It covers the whole picture at the segmenter's own resolution.
        class_scores: (h, w) float32, probability of the class in `class_map`; None without semantics.
        gate: (h', w') float32 in 0..1, how open the semantic gate stands at each place; None where there is no gate.
        activation: (h', w') float32, what each place adds to the logit of the best scene; None where the network's
            head is not one that tells.
        p_unknown: calibrated probability that the picture shows none of the scenes; None where the model has none.
        view: the part of the picture that `gate` and `activation` cover: a centre crop, or all of it.
    """

    probabilities: FloatArray
    labels: tuple[str, ...]
    class_map: NDArray[np.uint8] | None = None
    class_scores: FloatArray | None = None
    gate: FloatArray | None = None
    activation: FloatArray | None = None
    p_unknown: float | None = None
    view: View = WHOLE

    def __post_init__(self) -> None:
        if self.probabilities.shape != (len(self.labels),):
            raise ValueError(f"{len(self.labels)} labels need as many probabilities, not {self.probabilities.shape}")

    @property
    def scene(self) -> str:
        """The most probable scene."""
        return self.labels[int(self.probabilities.argmax())]

    @property
    def known(self) -> float:
        """How sure it is that the picture shows one of the scenes, 0..1, as `unknown_threshold` is compared with:
        1 - `p_unknown`, or the best probability where the model has no such."""
        return float(self.probabilities.max()) if self.p_unknown is None else 1.0 - self.p_unknown

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The `k` most probable scenes with their probabilities, best first."""
        return top_k(self.probabilities, self.labels, k)

    @property
    def entropy(self) -> float:
        """Shannon entropy of the probabilities in nats; 0 is certain, ln C knows nothing."""
        return float(entropy(self.probabilities))

    def class_shares(self, smallest: float = 0.01) -> list[tuple[int, float]]:
        """(ADE20K id, share of the picture's area) of every class with at least `smallest`, largest first."""
        if self.class_map is None:
            return []
        counts = np.bincount(self.class_map.ravel(), minlength=1)
        shares = counts / counts.sum()
        order = np.argsort(-shares, kind="stable")
        return [(int(i), float(shares[i])) for i in order if shares[i] >= smallest and i != 0]


def entropy(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Shannon entropy in nats over the last axis of probabilities (..., C): (...)."""
    p = probabilities.astype(np.float64)
    summands = p * np.log(np.where(p > 0, p, 1.0))
    return np.asarray(np.maximum(0.0, -summands.sum(axis=-1)))


def top_k(probabilities: FloatArray, labels: tuple[str, ...], k: int) -> list[tuple[str, float]]:
    """The `k` largest of `probabilities` (C,) with their labels, best first; equal ones in label order."""
    order = np.argsort(-probabilities, kind="stable")[:k]
    return [(labels[i], float(probabilities[i])) for i in order]
