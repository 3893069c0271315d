"""A stage's checkpoints, in the form of the public ones: readable by whoever reads those, and with `weights_only=True`.

Besides `state_dict`, `epoch`, `best_prec1` and `labels` there is what resuming needs, and the recipe as JSON text.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from config.errors import UserError
from tools.train.two_stage.recipe import METHOD, Recipe, StageName

LAST, BEST = "last.pth.tar", "best.pth.tar"


@dataclass
class Progress:
    """Where a stage stands.

    Attributes:
        epoch: epochs that are done.
        best: highest Top@1 on the watched pictures, per cent; below 0 before the first.
        best_epoch: when that was, from 1.
        finished: the stage needs no further epoch.
        history: what each epoch measured.
    """

    epoch: int = 0
    best: float = -1.0
    best_epoch: int = 0
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """What all checkpoints of a stage say about it."""

    recipe: Recipe
    stage: StageName
    labels: tuple[str, ...]
    origin: str  # of the weights


def write_checkpoint(
    path: Path,
    run: Run,
    network: nn.Module,
    progress: Progress,
    optimiser: Optimizer | None = None,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Write a checkpoint in one go: a run that is killed meanwhile leaves the old one."""
    content = {
        "state_dict": {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()},
        "epoch": progress.epoch,
        "best_prec1": progress.best,
        "arch": f"{METHOD}/{run.stage}/{run.recipe.backbone}",
        "labels": list(run.labels),
        "stage": run.stage,
        "origin": run.origin,
        "recipe": json.dumps(run.recipe.relevant(run.stage)),
        "progress": asdict(progress),
    }
    if optimiser is not None:
        content["optimizer"] = optimiser.state_dict()
        content["scaler"] = scaler.state_dict() if scaler is not None else {}
    part = path.with_suffix(".part")
    try:
        torch.save(content, part)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {str(error).splitlines()[0]}; is the disk full?") from error
    part.replace(path)


def read_last(path: Path, run: Run) -> dict[str, Any]:
    """The checkpoint to go on from.

    Raises:
        UserError: damaged, or made with another recipe or other scenes; says what differs.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        made_with = json.loads(content["recipe"])
    except Exception as error:
        raise UserError(f"{path} cannot be read ({str(error).splitlines()[0]}); choose another folder") from error
    wanted = json.loads(json.dumps(run.recipe.relevant(run.stage)))
    if differing := _differing(made_with, wanted):
        raise UserError(f"{path} was made with another recipe ({'; '.join(differing)}); choose another folder")
    if content["labels"] != list(run.labels):
        raise UserError(f"{path} was made for {len(content['labels'])} other scenes; choose another folder")
    return content


def _differing(old: Any, new: Any, path: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        return [text for k in keys for text in _differing(old.get(k), new.get(k), f"{path}.{k}" if path else k)]
    return [] if old == new else [f"{path} was {json.dumps(old)}, now {json.dumps(new)}"]
