"""Temperature and unknown threshold of a model that learnt few pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tools import metrics
from tools.train.own.classifier import view_logits
from tools.train.own.features import Features, Rows
from tools.train.scoring import find_temperature, find_threshold

_KNOWN_SHARE = 0.95  # of what is measured stays above the threshold
# With few pictures all of dev may be named with certainty, but no camera's picture is as certain as that.
_HIGHEST = 0.9


def calibrate(classifier: nn.Module, features: Features, dev: Rows, targets: Rows) -> dict[str, float]:
    """`temperature` and `unknown_threshold` for the pictures `dev`, whose scenes are `targets`.

    All views are taken, the changed ones too: dev is small. Of 5 rooms with 40 pictures each, thresholds found on
    whole pictures alone called 6 to 14 % of 500 other pictures unknown, those found on 7 views 3 to 9 %; 5 % are meant.
    """
    logits = view_logits(classifier, features, dev, features.views)
    wanted: NDArray[np.int64] = np.tile(targets, features.views)
    temperature = find_temperature(logits, wanted)
    threshold = find_threshold(metrics.softmax(logits, temperature).max(axis=1), _KNOWN_SHARE)
    return {"temperature": temperature, "unknown_threshold": min(threshold, _HIGHEST)}
