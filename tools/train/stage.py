"""What a stage of training changes: which parameters, at which rates, and which part of the encoder only runs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.layers.efficientnet_lite import EfficientNetLite0, Pyramid
from models.scene_network import SceneNetwork
from tools.train.frozen import FrozenModule
from tools.train.optimiser import adamw, rate_share
from tools.train.recipe import Recipe, Stage

_PRETRAINED = ("segmenter.encoder.", "classifier.head.")
_TRAINED_PARTS = {"decoder": (), "heads": (), "upper": ("upper",), "middle": ("middle", "upper")}


def set_trainable(network: SceneNetwork, stage: Stage) -> None:
    """Let gradients reach only what the stage trains.

    The encoder's depthwise kernels keep ImageNet's values: they are 3 % of its weights, and a third of a step.
    """
    parts = tuple(f"segmenter.encoder.{part}." for part in _TRAINED_PARTS[stage.trains])
    for name, parameter in network.named_parameters():
        is_new = not name.startswith(_fixed(stage))
        parameter.requires_grad_(is_new or (name.startswith(parts) and not _is_depthwise(parameter)))


def _fixed(stage: Stage) -> tuple[str, ...]:
    """What keeps the values that it has, but for the parts of the encoder that the stage trains."""
    return ("segmenter.encoder.", "classifier.") if stage.trains == "decoder" else ("segmenter.encoder.",)


def _is_depthwise(weight: nn.Parameter) -> bool:
    return weight.ndim == 4 and weight.shape[1] == 1


def set_training_mode(network: SceneNetwork, stage: Stage) -> None:
    """Training mode, but pretrained batch norms keep ImageNet's statistics: batches here are small and few."""
    network.train()
    network.classifier.train(stage.trains != "decoder")
    for name, module in network.named_modules():
        if f"{name}.".startswith(_PRETRAINED) and isinstance(module, nn.BatchNorm2d):
            module.eval()


def build_optimizer(network: SceneNetwork, stage: Stage, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with the encoder's own rate; vectors (biases, norms) do not decay."""
    trained = ((name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad)
    rates = {True: stage.encoder_lr, False: stage.lr}
    return adamw(trained, lambda name: rates[name.startswith(_PRETRAINED)], recipe.weight_decay)


def learning_rate(step: int, steps: int, stage: Stage) -> float:
    """Share of the full rate at a step: linear warm-up, then half a cosine down to `stage.final`."""
    return rate_share(step, steps, stage.warmup, stage.final)


def frozen_encoder(network: SceneNetwork, stage: Stage, size: int) -> Callable[[Tensor], Pyramid]:
    """The encoder of a stage: what stays as it is runs frozen, the rest in torch.

    Takes normalised pictures (B, 3, size, size); the network's segmenter must be one with `EfficientNetLite0`.
    """
    example = torch.zeros(1, 3, size, size)
    encoder = network.segmenter.encoder
    assert isinstance(encoder, EfficientNetLite0)
    if not _TRAINED_PARTS[stage.trains]:
        whole = FrozenModule(encoder, example, rough=True)
        return lambda picture: Pyramid(*(_channels_last(x) for x in whole(picture)))
    below = FrozenModule(_Below(encoder, stage.trains), example, rough=True)

    def encode(picture: Tensor) -> Pyramid:
        features = tuple(_channels_last(x) for x in below(picture))
        if stage.trains == "middle":
            return encoder.encode_upper(*features)
        return Pyramid(*features, encoder.upper(features[-1]))

    return encode


class _Below(nn.Module):
    """The encoder up to where training begins, at "middle" or at "upper"."""

    def __init__(self, encoder: EfficientNetLite0, trains: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.trains = trains

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        stride4, stride8 = self.encoder.encode_lower(picture)
        return (stride4, stride8) if self.trains == "middle" else (stride4, stride8, self.encoder.middle(stride8))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
