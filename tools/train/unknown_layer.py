"""Fits the layer of `unknown` anew to a finished network: a regression on what the network sees of training pictures.

Long training makes that layer sure of what it was shown strange (close-ups, patterns) and careless about the rest; a
logistic regression with a strong decay on the same features tells pictures of other kinds better; figures are in
`docs/experiments.md`.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.scene_network import SceneNetwork
from tools.train.augment import Palette
from tools.train.corpus import Corpus
from tools.train.data import NO_SCENE, UNKNOWN, Samples, epoch_order
from tools.train.frozen import FrozenModule
from tools.train.optimiser import minimise
from tools.train.recipe import Augmentation, Recipe
from tools.train.scoring import normalise

_BATCH = 32
_DECAY = 0.01
# Half of the pictures as they are, the others changed, a tenth of these close-ups, and as many parts that things fill.
_SHOWN = Augmentation(scale=(0.5, 1.0), ratio=(0.7, 1.4), degrade=0.5, plain=0.5, close_up=0.1, things=0.5)


def fit_unknown_layer(network: SceneNetwork, corpus: Corpus, palette: Palette, recipe: Recipe) -> None:
    """Replace the weights of the network's layer of `unknown`; all else stays as it is.

    Args:
        network: a trained one.
        corpus: of whose pool `recipe.unknown_samples` are drawn.
        palette: for grey pictures.
        recipe: for the size and the seed.
    """
    order = epoch_order(corpus.pool.targets, recipe.balance, recipe.unknown_samples, (recipe.seed, 0))
    samples = Samples(corpus.pool, order, recipe.size, _SHOWN, palette, (recipe.seed, 1))
    features, targets = _features(network, samples, recipe)
    judged = targets != NO_SCENE
    weights, bias = fit_logistic(features[judged], targets[judged] == UNKNOWN)
    layer: nn.Linear = network.classifier.fc_unknown  # type: ignore[assignment]
    with torch.no_grad():
        layer.weight.copy_(weights[None])
        layer.bias.fill_(bias)


def fit_logistic(features: Tensor, strange: NDArray[np.bool_]) -> tuple[Tensor, float]:
    """Weights (F,) and bias of a logistic regression that tells the strange ones among (N, F) features.

    Strange and known ones weigh half each. The decay is on weights of features divided by their deviation plus the
    mean deviation, so that one that hardly ever varies cannot weigh much.
    """
    mean, deviation = features.mean(0), features.std(0)
    scale = deviation + deviation.mean()
    x, y = (features - mean) / scale, torch.from_numpy(strange.astype(np.float32))
    share = torch.from_numpy(np.where(strange, 1 / strange.sum(), 1 / (~strange).sum()).astype(np.float32)) / 2
    weights, bias = torch.zeros(x.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)

    def loss() -> Tensor:
        entropy = F.binary_cross_entropy_with_logits(x @ weights + bias, y, share, reduction="sum")
        return entropy + _DECAY * weights.square().sum()

    minimise(loss, [weights, bias], steps=200)
    found = weights.detach() / scale
    return found, float(bias.detach() - found @ mean)


def _features(network: SceneNetwork, samples: Samples, recipe: Recipe) -> tuple[Tensor, NDArray[np.int64]]:
    """What the layer of `unknown` is given of each sample, (N, F), and the targets (N,)."""
    frozen = FrozenModule(_BeforeUnknown(network), torch.zeros(1, 3, recipe.size, recipe.size))
    features, targets = [], []
    for start in range(0, len(samples), _BATCH):
        batch = [samples[i] for i in range(start, min(start + _BATCH, len(samples)))]
        pictures = torch.from_numpy(np.stack([sample.picture for sample in batch]))
        features += frozen(normalise(pictures, recipe.mean, recipe.std))
        targets += [sample.target for sample in batch]
    return torch.cat(features), np.array(targets)


class _BeforeUnknown(nn.Module):
    def __init__(self, network: SceneNetwork) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.classifier.fc_unknown = nn.Identity()

    def forward(self, picture: Tensor) -> Tensor:
        return self.network.forward_training(picture).unknown
