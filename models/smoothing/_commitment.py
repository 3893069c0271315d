"""Which scene stands: one that is held true gives way only to a lead that is clear and lasts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.smoothing.base import Belief, another_leads


@dataclass(frozen=True, slots=True)
class Rules:
    """When the stable scene may change; times in seconds.

    Attributes:
        margin: lead that a challenger needs over the stable scene.
        confirm_s: how long it must keep that lead.
        min_dwell_s: how long a scene stands at least.
        cut_window_s: how long after a cut none of these counts: the label has become obsolete.
        doubtful_margin: lead that a challenger needs while the pictures look like none of the scenes.
    """

    margin: float
    confirm_s: float
    min_dwell_s: float
    cut_window_s: float
    doubtful_margin: float = math.inf


@dataclass
class Commitment:
    """The stable scene of an epoch, from its first frame on."""

    rules: Rules
    scene: int
    since_pts: int
    since_s: float
    cut_s: float = -math.inf
    challenger: int | None = None
    challenger_s: float = 0.0

    def belief(
        self,
        probabilities: NDArray[np.float64],
        now_s: float,
        *,
        changed: bool,
        unknown: bool,
        p_unknown: float | None,
    ) -> Belief:
        """What is held true at `now_s`, with probabilities (C,) over time; the others as in `Belief`."""
        shown = probabilities.astype(np.float32)
        return Belief(
            probabilities=shown,
            scene=self.scene,
            p=float(probabilities[self.scene]),
            since_pts=self.since_pts,
            dwell_s=max(0.0, now_s - self.since_s),
            changed=changed,
            held=another_leads(shown, self.scene),
            unknown=unknown,
            p_unknown=p_unknown,
        )

    def decide(self, shares: NDArray[np.float64], credible: bool, pts: int, now_s: float, cut: bool) -> bool:
        """Let a challenger take over where the evidence is clear; True if it did.

        Args:
            shares: (C,) probabilities over time.
            credible: whether the best of them is to be believed.
            pts: of this frame.
            now_s: the same in seconds.
            cut: whether a cut lies before this frame.
        """
        if cut:
            self.cut_s = now_s
        leader = int(shares.argmax())
        loosened = now_s - self.cut_s <= self.rules.cut_window_s
        if loosened:
            margin = 0.0
        else:
            margin = self.rules.margin if credible else max(self.rules.margin, self.rules.doubtful_margin)
        if leader == self.scene or shares[leader] - shares[self.scene] < margin:
            self.challenger = None
            return False
        if self.challenger != leader:
            self.challenger, self.challenger_s = leader, now_s
        waited = now_s - self.challenger_s >= self.rules.confirm_s and now_s - self.since_s >= self.rules.min_dwell_s
        if not (waited or loosened):
            return False
        self.scene, self.since_pts, self.since_s, self.challenger = leader, pts, now_s, None
        return True
