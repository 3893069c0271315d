"""What a model loses when its pictures are corrupted: the same pictures clean and under each of `tools.corruptions`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from config.errors import UnknownPluginError
from models.recognizer import Recognizer
from tools import metrics
from tools.corruptions import CORRUPTIONS, corrupt
from tools.data.manifest import Entry, PictureManifest
from tools.evaluation import Evaluation, Picture, evaluate_pictures
from tools.intervals import mean_difference_interval

ALL = "all"  # the word for every corruption there is

_POINTS = 100  # in 1


@dataclass(frozen=True)
class Robustness:
    """The same pictures, clean and corrupted.

    Attributes:
        clean: what was said of the pictures as they are.
        corrupted: what was said of them under each corruption, by name.
    """

    clean: Evaluation
    corrupted: dict[str, Evaluation]

    def summary(self) -> dict[str, Any]:
        """Figures ready for JSON: for each corruption Top@1, MCA and the loss of Top@1, and the mean of the losses.

        Losses are in points (hundredths), positive when the corrupted pictures are worse. `loss_interval` is
        [low, high], 95 %, the clean and the corrupted pictures taken in pairs.
        """
        figures = {name: self._figures(evaluation) for name, evaluation in self.corrupted.items()}
        losses = [row["loss"] for row in figures.values()]
        return {"corruptions": figures, "mean_loss": sum(losses) / len(losses)}

    def _figures(self, corrupted: Evaluation) -> dict[str, Any]:
        figures = metrics.summary(corrupted.probabilities, corrupted.targets)
        interval = mean_difference_interval(self.clean.correct, corrupted.correct)
        loss = float(self.clean.correct.mean() - corrupted.correct.mean())
        return {
            "top1": figures["top1"],
            "mca": figures["mca"],
            "loss": _POINTS * loss,
            "loss_interval": [_POINTS * bound for bound in interval],
        }


def corruption_names(text: str) -> tuple[str, ...]:
    """The corruptions that "all", or a list such as "noise,fog", names; each once.

    Raises:
        UnknownPluginError: one of them does not exist.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if names == (ALL,):
        return tuple(CORRUPTIONS)
    for name in names:
        if name not in CORRUPTIONS:
            raise UnknownPluginError("corruption", name, [ALL, *CORRUPTIONS])
    return names


def evaluate_corrupted(
    recognizer: Recognizer,
    pictures: PictureManifest,
    names: Sequence[str],
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Evaluation]:
    """What `recognizer` says of the pictures under each corruption of `names`; `progress` hears how many more are done.

    Raises:
        ManifestError: a picture is missing or cannot be read, or a scene is none of the model's.
        UnknownPluginError: there is no such corruption.
    """
    return {name: evaluate_pictures(recognizer, pictures, progress, partial(_corrupted, name)) for name in names}


def _corrupted(name: str, picture: Picture, entry: Entry) -> Picture:
    # The seed is the line: a picture looks the same whichever others are evaluated with it.
    return corrupt(name, picture, entry.line)
