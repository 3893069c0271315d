"""What a checkpoint's weights suggest about the base of the labels that it was trained with.

Label value k is channel k + 1 of the semantic tensor. Of the 152 channels the first is never live. With 0-based
labels (0..149) the last one, channel 151, is not live either; with 1-based ones (1..150) it is class 150, a rare one.
A channel that never was live keeps its random start, shrunk by weight decay like the first; one that was has learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from models.encoding import SEMANTIC_CLASSES, LabelBase

__all__ = ["STEM", "LabelBaseGuess", "guess_label_base"]

STEM = "in_block_sem.0.weight"  # the first semantic convolution, (64, 152, 7, 7)
# The norms of two channels of 64 x 7 x 7 random weights differ by 2 % (one standard deviation), so this is three.
_ALIKE = 0.06


class LabelBaseGuess(NamedTuple):
    """A guess, with what it rests on.

    base: None where the weights tell nothing.
    ratio: norm of channel 151 over that of channel 0; 1 where both are 0.
    typical: the same ratio for the median of channels 1..150.
    """

    base: LabelBase | None
    ratio: float
    typical: float

    @property
    def evidence(self) -> str:
        """The guess in a sentence, as weak as it is."""
        measured = (
            f"in the first semantic convolution channel 151 is {self.ratio:.2f} times as strong as channel 0, which is "
            f"never live (channels 1..150: {self.typical:.2f} times)"
        )
        if self.base is None:
            return f"the weights do not tell the label base: {measured}"
        meaning = "so it was hardly ever live either" if self.base is LabelBase.ZERO else "so it seems to have learnt"
        return f"labels look {int(self.base)}-based, a guess on weak evidence: {measured}, {meaning}"


def guess_label_base(state: Mapping[str, Tensor]) -> LabelBaseGuess | None:
    """Guess the label base from a scene network's weights; None without the reference's 152 semantic channels."""
    stem = state.get(STEM)
    if stem is None or stem.ndim != 4 or stem.shape[1] != SEMANTIC_CLASSES + 1:
        return None
    norms = stem.float().pow(2).sum((0, 2, 3)).sqrt()
    never, last, typical = (float(norm) for norm in (norms[0], norms[-1], norms[1:-1].median()))
    ratio, usual = _ratio(last, never), _ratio(typical, never)
    if abs(usual - 1) <= _ALIKE:
        return LabelBaseGuess(None, ratio, usual)  # no channel has learnt
    return LabelBaseGuess(LabelBase.ZERO if abs(ratio - 1) <= _ALIKE else LabelBase.ONE, ratio, usual)


def _ratio(norm: float, reference: float) -> float:
    if reference > 0:
        return norm / reference
    return float("inf") if norm > 0 else 1.0
