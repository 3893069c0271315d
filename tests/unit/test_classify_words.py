"""What `classify` says of a picture in which no scene is believed is true."""

from __future__ import annotations

import numpy as np
import pytest

from models.prediction import Prediction
from tools.commands.classify import doubt


@pytest.mark.parametrize(
    ("best", "p_unknown", "threshold", "words"),
    [
        (0.9, 0.1, 0.8, None),
        (0.9, 0.2, 0.8, None),
        (0.9, 0.23, 0.8, "may be none of the 3 scenes: p_unknown 0.23, threshold 0.20"),
        (0.4, 0.93, 0.8, "probably none of the 3 scenes: p_unknown 0.93, threshold 0.20"),
        (0.5, None, 0.5, None),
        (0.5, None, 0.6, "may be none of the 3 scenes: the best has 0.50, threshold 0.60"),
        (0.5, None, 0.0, None),
    ],
)
def test_doubt(best, p_unknown, threshold, words):
    probabilities = np.array([best, 1 - best, 0], np.float32)
    prediction = Prediction(probabilities, ("kitchen", "street", "forest"), p_unknown=p_unknown)
    assert doubt(prediction, threshold) == words
