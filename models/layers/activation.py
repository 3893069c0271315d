"""Class activation maps: what each place of pooled features adds to a scene's logit.

A head that averages features over the places and then takes a weighted sum of the channels may as well take the
weighted sum at each place first (Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016).
"""

from __future__ import annotations

from torch import Tensor


def weighted_sum(features: Tensor, weights: Tensor) -> Tensor:
    """(B, h, w): the channels of features (B, F, h, w) summed with weights (B, F)."""
    total: Tensor = (features * weights[:, :, None, None]).sum(1)
    return total
