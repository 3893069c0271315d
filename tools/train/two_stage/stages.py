"""The networks of the two stages: what each starts from, which of its parts are trained, which stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from config.errors import UserError
from models.checkpoint import read_checkpoint
from models.classifiers.two_branch import Params, RGBNet, SceneLogits, SemanticNet, TwoBranchNet, build
from models.layers.semantic_stem import Top3
from models.package import find_package
from models.scene_classifier import Branch, load_scene_network
from tools.train.two_stage.checkpoints import BEST
from tools.train.two_stage.recipe import Recipe, StageName

State = dict[str, Tensor]

_GATE = ("lastConvRGB1", "lastConvRGB2", "lastConvSEM1", "lastConvSEM2", "fc")  # what the last stage trains
_TORCHVISION = {
    "conv1": "in_block.0",
    "bn1": "in_block.1",
    **{f"layer{i}": f"encoder{i}" for i in range(1, 5)},
}
_COUNTER = "num_batches_tracked"
_FULL_SCORE = 255


@dataclass(frozen=True)
class StartingPoint:
    """A network and, in words for the log and the checkpoints, what its weights came from."""

    network: nn.Module
    origin: str


def network_params(recipe: Recipe, stage: StageName, scenes: int) -> Params:
    """Parameters of the plug-in `two_branch` for a stage."""
    return Params(branches=stage, backbone=recipe.backbone, scene_classes=scenes)


def build_network(recipe: Recipe, stage: StageName, scenes: int) -> RGBNet | SemanticNet | TwoBranchNet:
    """The network of a stage with random weights that depend on the recipe's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return build(network_params(recipe, stage, scenes))


def start_stage(recipe: Recipe, stage: StageName, labels: Sequence[str], output: Path) -> StartingPoint:
    """The network that a stage begins with.

    Args:
        recipe: says what to start from.
        stage: rgb and semantic start random unless the recipe says otherwise, both from the two branches.
        labels: the C scenes.
        output: the run's folder, for the last stage the place of the branches.

    Raises:
        UserError: a file is missing or has another network; names what differs.
    """
    network = build_network(recipe, stage, len(labels))
    if stage == "both":
        rgb = recipe.start.both_rgb or str(output / "rgb" / BEST)
        semantic = recipe.start.both_semantic or str(output / "semantic" / BEST)
        _load_branch(network, rgb, "rgb", recipe, labels)
        _load_branch(network, semantic, "semantic", recipe, labels)
        return StartingPoint(network, f"branches from {rgb} and {semantic}; the attention module from random weights")
    source = recipe.start.rgb if stage == "rgb" else recipe.start.semantic
    if source is None:
        return StartingPoint(network, "random weights")
    left_out = _load_start(network, source)
    return StartingPoint(network, source + (f" but for {', '.join(left_out)} (random)" if left_out else ""))


def set_trainable(network: nn.Module, stage: StageName) -> list[nn.Parameter]:
    """Let gradients reach what the stage trains; returns those parameters."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(stage != "both" or name.startswith(tuple(f"{part}." for part in _GATE)))
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def set_training_mode(network: nn.Module, stage: StageName) -> None:
    """Training mode; branches that are kept fixed stay in evaluation mode, their batch norms' statistics included."""
    network.train()
    if stage == "both":
        for name, module in network.named_children():
            module.train(name in (*_GATE, "dropout"))


def classify(
    network: nn.Module, stage: StageName, picture: Tensor, labels: Tensor, scores: Tensor, stats: tuple[Tensor, Tensor]
) -> Tensor:
    """Scene logits (B, C) of a batch on the network's device.

    Args:
        network: of the stage.
        stage: which input it takes.
        picture: (B, 224, 224, 3) uint8 RGB.
        labels: (B, 3, 224, 224) uint8, empty where the stage takes no semantics.
        scores: the same, round(255 p).
        stats: mean and deviation of the channels, both (1, 3, 1, 1).
    """
    semantic = None if stage == "rgb" else Top3(labels, scores.float() / _FULL_SCORE)
    rgb = None if stage == "semantic" else normalise(picture, *stats)
    output: SceneLogits = network(rgb, semantic)
    return output.scene


def normalise(picture: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32 in channels-last memory, normalised as `CropPreprocess` does."""
    return (picture.permute(0, 3, 1, 2).float() / 255 - mean) / std


def _load_branch(network: nn.Module, source: str, branch: Branch, recipe: Recipe, labels: Sequence[str]) -> None:
    """Copy a trained branch into the two-branch network, its `fc` becoming `fc_RGB`."""
    if source.endswith(BEST) and not Path(source).exists():
        raise UserError(
            f"stage both starts from the branch {branch!r}, and there is no {source}: train it first (--stage "
            f"{branch}, or --stage all), or set start.both_{branch}"
        )
    loaded = load_scene_network(source, expect=branch)
    wanted = build_network(recipe, branch, len(labels)).state_dict()
    state = loaded.module.state_dict()
    if faults := _differences(wanted, state):
        raise UserError(
            f"{source} is a {loaded.title}, not the branch {branch!r} of {recipe.backbone} for {len(labels)} scenes: "
            f"{faults}"
        )
    if loaded.labels is not None and loaded.labels != tuple(labels):
        ours, theirs = next(p for p in zip(labels, loaded.labels, strict=True) if p[0] != p[1])
        raise UserError(f"{source} was trained on other scenes: {theirs!r} where this data set has {ours!r}")
    head = {"fc.weight": "fc_RGB.weight", "fc.bias": "fc_RGB.bias"} if branch == "rgb" else {}
    own = network.state_dict()
    own.update({head.get(name, name): tensor for name, tensor in state.items()})
    network.load_state_dict(own)


def _load_start(network: nn.Module, source: str) -> list[str]:
    """Fill a branch from a file; its head stays random where it has other classes. Returns what stayed random."""
    found = {_our_name(name): tensor for name, tensor in _read_state(source).items()}
    wanted = network.state_dict()
    heads = [name for name in wanted if name.startswith("fc")]
    left_out = [n for n in heads if n not in found or found[n].shape != wanted[n].shape]
    body = {name: tensor for name, tensor in wanted.items() if name not in heads}
    if faults := _differences(body, {name: t for name, t in found.items() if not name.startswith("fc")}):
        raise UserError(f"{source} is no start for this branch: {faults}")
    kept = {name: tensor for name, tensor in found.items() if name in wanted and name not in left_out}
    network.load_state_dict({**wanted, **kept})
    return left_out


def _read_state(source: str) -> State:
    if _is_model(source):
        return read_checkpoint(find_package(source).path("weights")).state
    return read_checkpoint(Path(source)).state


def _is_model(source: str) -> bool:
    return (Path(source) / "model.json").is_file() or (not Path(source).exists() and "/" not in source)


def _our_name(name: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{_TORCHVISION.get(first, first)}{dot}{rest}"


def _differences(wanted: State, found: State) -> str:
    """What of two state dicts differs, the first of each kind; batch counters do not matter."""
    faults = []
    missing = [n for n in wanted if n not in found and not n.endswith(_COUNTER)]
    foreign = [n for n in found if n not in wanted and not n.endswith(_COUNTER)]
    other = [n for n in wanted if n in found and wanted[n].shape != found[n].shape]
    if missing:
        faults.append(f"it has no {missing[0]}{_more(missing)}")
    if foreign:
        faults.append(f"it has {foreign[0]}{_more(foreign)} besides")
    if other:
        shapes = f"{tuple(found[other[0]].shape)}, not {tuple(wanted[other[0]].shape)}"
        faults.append(f"{other[0]} is {shapes}{_more(other)}")
    return "; ".join(faults)


def _more(names: list[Any]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
