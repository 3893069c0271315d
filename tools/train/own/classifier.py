"""Trains the classifier on features that were computed once: a view of each picture at a time, drawn anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tools import metrics
from tools.progress import CountProgress
from tools.train.data import epoch_order
from tools.train.optimiser import adamw, rate_share
from tools.train.own.features import Features, Rows
from tools.train.own.start import Start

_BATCH = 32
_EPOCH = 512  # an epoch takes so many views at least: of few pictures, it takes each several times
_RATE = 3e-3  # of the new layers
_START_RATE = 3e-4  # of what the model knows already
_WARMUP, _FINAL = 0.05, 0.02  # share of the steps; share of the rate that the cosine ends at
_DECAY = 0.02
_SMOOTHING = 0.1
_BRANCHES = 0.3  # weight of the RGB branch's and the semantic branch's own logits
_BALANCE = 0.5  # rarer scenes come more often: (pictures of the scene)^-balance
_TESTED = 64  # pictures at once where nothing is learnt
_WATCHED = 600  # views that choose the epoch: 40 pictures alone would choose the luckiest one

Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """What of a training the user may choose.

    Attributes:
        epochs: how often to go through the pictures.
        views: random changes of each picture that the frozen part runs over, beside the whole picture.
        seed: of the changes, the order and the new layers.
    """

    epochs: int = 8
    views: int = 6
    seed: int = 1


@dataclass(frozen=True)
class Learnt:
    """How a training went; `history` has a line an epoch with its `loss` and dev's figures."""

    best_epoch: int
    history: list[dict[str, float]]


class ClassifierTraining:
    """One training of a network's classifier.

    Args:
        start: the network; its classifier is changed.
        features: of all pictures.
        targets: (N,) scenes of the features' pictures.
        train, dev: which of them are learnt from, and which choose the epoch.
    """

    def __init__(
        self, start: Start, features: Features, targets: Rows, train: Rows, dev: Rows, settings: Settings
    ) -> None:
        self.classifier: nn.Module = start.network.classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.features = features
        self.targets = targets
        self.train, self.dev = train, dev
        self.settings = settings
        self.steps = math.ceil(max(_EPOCH, len(train)) / _BATCH)  # of an epoch
        self.optimizer = _build_optimizer(self.classifier, start.new)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.watched = min(features.views, max(1, _WATCHED // len(dev)))  # views of each picture in dev
        counts = np.bincount(targets[train])
        shown = np.power(counts, 1 - _BALANCE, dtype=np.float64)
        # How often training shows a scene is none of the model's business: it is added here, so that the logits are
        # learnt without it (Menon et al., "Long-tail learning via logit adjustment", arXiv 2007.07314).
        self.prior = torch.from_numpy(np.log(shown / shown.sum())).float()

    def run(self, say: Callable[[str], None]) -> Learnt:
        """Train, and leave the classifier with the weights that did best on dev."""
        history: list[dict[str, float]] = []
        best: tuple[float, float] = (-1.0, 0.0)
        best_epoch, kept = 0, _copied(self.classifier)
        for epoch in range(self.settings.epochs):
            loss = self._run_epoch(epoch)
            figures = self._measure()
            history.append({"epoch": epoch + 1, "loss": round(loss, 4), **figures})
            quality = ((figures["top1"] + figures["mca"]) / 2, -figures["dev_loss"])
            if quality > best:
                best, best_epoch, kept = quality, epoch + 1, _copied(self.classifier)
            say(
                f"epoch {epoch + 1}/{self.settings.epochs}: loss {loss:.3f}; dev in {self.watched} views: "
                f"Top@1 {figures['top1']:.3f}, MCA {figures['mca']:.3f}"
            )
        self.classifier.load_state_dict(kept)
        self.classifier.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return Learnt(best_epoch, history)

    def _run_epoch(self, epoch: int) -> float:
        """Go through the pictures once; the mean loss."""
        seed = (self.settings.seed, epoch)
        rng = np.random.default_rng(seed)
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))  # dropout
        order = epoch_order(self.targets[self.train], _BALANCE, self.steps * _BATCH, seed)
        _set_training_mode(self.classifier)
        losses = []
        with CountProgress(f"epoch {epoch + 1}/{self.settings.epochs}", "batches") as progress:
            for step in range(self.steps):
                self._set_rates(epoch * self.steps + step)
                pictures = self.train[order[step * _BATCH : (step + 1) * _BATCH]]
                losses.append(self._step(pictures, rng.integers(self.features.views, size=len(pictures))))
                progress(step + 1, self.steps)
        return float(np.mean(losses))

    def _step(self, pictures: Rows, views: Rows) -> float:
        output = self.classifier(*_fast(self.features.take(pictures, views)))
        target = torch.from_numpy(self.targets[pictures])

        def entropy(logits: Tensor) -> Tensor:
            return F.cross_entropy(logits + self.prior, target, label_smoothing=_SMOOTHING)

        loss = entropy(output.scene) + _BRANCHES * (entropy(output.rgb) + entropy(output.semantic))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.classifier.parameters(), 5.0)
        self.optimizer.step()
        return float(loss.detach())

    def _set_rates(self, step: int) -> None:
        share = rate_share(step, self.steps * self.settings.epochs, _WARMUP, _FINAL)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share

    def _measure(self) -> dict[str, float]:
        """Figures on the watched views of dev."""
        targets = np.tile(self.targets[self.dev], self.watched)
        probabilities = metrics.softmax(view_logits(self.classifier, self.features, self.dev, self.watched))
        figures = metrics.summary(probabilities, targets)
        loss = metrics.entropy_loss(probabilities, targets)
        return {"top1": round(figures["top1"], 4), "mca": round(figures["mca"], 4), "dev_loss": round(loss, 4)}


def view_logits(classifier: nn.Module, features: Features, pictures: Rows, views: int) -> Logits:
    """Logits (views * B, C) of the first `views` views of B pictures: all pictures' first, then all their second..."""
    return np.concatenate([scene_logits(classifier, features, pictures, view) for view in range(views)])


@torch.no_grad()
def scene_logits(classifier: nn.Module, features: Features, pictures: Rows, view: int = 0) -> Logits:
    """Logits (B, C) of the pictures, by their place in the features; view 0 is the whole picture."""
    classifier.eval()
    parts = []
    for start in range(0, len(pictures), _TESTED):
        chunk = pictures[start : start + _TESTED]
        output = classifier(*_fast(features.take(chunk, np.full(len(chunk), view))))
        parts.append(output.scene.numpy())
    return np.concatenate(parts)


def _build_optimizer(classifier: nn.Module, new: frozenset[str]) -> torch.optim.AdamW:
    """AdamW; the new layers learn faster."""
    rates = {True: _RATE, False: _START_RATE}
    return adamw(classifier.named_parameters(), lambda name: rates[f"classifier.{name}" in new], _DECAY)


def _set_training_mode(classifier: nn.Module) -> None:
    """Training mode, but batch norms keep the model's statistics: own pictures are few."""
    classifier.train()
    for module in classifier.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _copied(classifier: nn.Module) -> dict[str, Any]:
    return {name: tensor.detach().clone() for name, tensor in classifier.state_dict().items()}


def _fast(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Maps in channels-last memory, which the convolutions on a CPU like best."""
    return tuple(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in inputs)
