"""The training loop, from top to bottom: data, stages, epochs, steps, checkpoints.

A run lives in one folder: `cache/` (decoded pictures and the teacher's maps), `last.pt` (to resume from), `best.pt`
(the averaged weights that did best on dev), `stage-NAME.pt` (those at the end of a stage), `log.jsonl` (a line per
epoch). Resuming repeats what an unbroken run does.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from config.errors import UserError
from models import load_recognizer
from models.layers.efficientnet_lite import Pyramid
from models.scene_network import SceneNetwork, TrainingOutput, build_scene_network
from tools import metrics
from tools.export import load_weights
from tools.progress import CountProgress
from tools.train import mixed
from tools.train import stage as stages
from tools.train.corpus import Corpus, load_corpus
from tools.train.data import Pool, Sample, Samples, epoch_order, learn_palette
from tools.train.imagenet import load_imagenet
from tools.train.losses import scene_loss, segmentation_loss
from tools.train.masks import camvid_accuracy
from tools.train.package import package_model
from tools.train.recipe import Loss, Recipe, Stage, read_recipe
from tools.train.report import report
from tools.train.scoring import normalise, own_word, score
from tools.train.teacher import Teacher

Say = Callable[[str], None]
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass
class Progress:
    """Where a run stands: the next epoch to run, and the best so far."""

    stage: int = 0
    epoch: int = 0
    best: float = 0.0
    updates: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def main_train(
    recipe: Path, root: Path, output: Path, resume: bool = False, workers: int = 1, say: Say = print
) -> None:
    """Train by `recipe` on the data under `root`, into the folder `output`.

    Raises:
        UserError: a recipe, manifest or picture that cannot be used, or a run in `output` that `resume` does not allow.
    """
    plan = read_recipe(recipe)
    if (output / "last.pt").exists() and not resume:
        raise UserError(f"{output} holds a run already: go on with --resume, or choose another folder")
    output.mkdir(parents=True, exist_ok=True)
    corpus = load_corpus(plan, root, output / "cache", say)
    say(f"{len(corpus.train)} pictures to train on, {len(corpus.dev)} in dev, {len(corpus.val)} in val")
    Trainer(plan, corpus, output, workers, say).run(resume)
    release(plan, corpus, root, output)
    say(f"wrote {output / 'model'} and {output / 'report.json'}")


def release(recipe: Recipe, corpus: Corpus, root: Path, output: Path) -> None:
    """Package the best weights of the run in `output`, and write its figures on val to `report.json`."""
    folder = output / "model"
    palette = learn_palette(corpus.scenes, corpus.train, recipe.seed)
    package_model(recipe, _released_weights(recipe, output), corpus, palette, folder)
    network = build_scene_network(recipe.network())
    load_weights(network, folder / "weights.safetensors")
    figures = report(network, corpus.scenes, corpus.val, corpus.targets[corpus.val], palette, recipe)
    if recipe.data.masks:
        figures["camvid"] = _against_masks(recipe, root, folder)
    (output / "report.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _released_weights(recipe: Recipe, output: Path) -> dict[str, Tensor]:
    """The weights that did best on dev, or the mean of those at the ends of some stages.

    The latter is a soup: Wortsman et al., "Model soups" (arXiv 2203.05482).
    """
    return mean_weights([_stage_file(output, name) for name in recipe.soup] or [output / "best.pt"])


def mean_weights(files: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of the networks' weights in some checkpoints."""
    states = [load_checkpoint(file) for file in files]
    networks: list[dict[str, Tensor]] = [state["network"] for state in states if state is not None]
    assert len(networks) == len(files)
    first = networks[0]
    return {
        name: torch.stack([network[name] for network in networks]).mean(0) if tensor.is_floating_point() else tensor
        for name, tensor in first.items()
    }


def _stage_file(output: Path, name: str) -> Path:
    return output / f"stage-{name}.pt"


def _against_masks(recipe: Recipe, root: Path, model: Path) -> dict[str, Any]:
    """Pixel accuracy of the packaged model and of its teacher against masks made by hand."""
    assert recipe.data.masks is not None
    recognizer, teacher = load_recognizer(str(model)), Teacher(root / recipe.data.teacher)

    def classes(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        found = recognizer.predict(rgb).class_map
        assert found is not None
        return found

    segmenters = {"model": classes, "teacher": lambda rgb: teacher.soft_map(rgb)[0][..., 0]}
    return camvid_accuracy(root / recipe.data.masks, segmenters)


class Trainer:
    """One run of a recipe."""

    def __init__(self, recipe: Recipe, corpus: Corpus, output: Path, workers: int, say: Say) -> None:
        self.recipe = recipe
        self.corpus = corpus
        self.output = output
        self.workers = workers
        self.say = say
        torch.manual_seed(recipe.seed)
        self.network = build_scene_network(recipe.network()).to(memory_format=torch.channels_last)
        load_imagenet(self.network)
        mixed.quicken_strided_depthwise(self.network)
        self.average = copy.deepcopy(self.network)
        self.progress = Progress()
        self.palette = learn_palette(corpus.scenes, corpus.train, recipe.seed)
        self.optimizer: torch.optim.Optimizer | None = None

    def run(self, resume: bool) -> None:
        """Run all stages that are left."""
        state = load_checkpoint(self.output / "last.pt") if resume else None
        if state:
            self._restore(state)
        while self.progress.stage < len(self.recipe.stages):
            self._run_stage(self.recipe.stages[self.progress.stage], state and state["optimizer"])
            state = None
            name = self.recipe.stages[self.progress.stage].name
            save_checkpoint(_stage_file(self.output, name), {"network": self.average.state_dict()})
            self.progress.stage, self.progress.epoch = self.progress.stage + 1, 0

    def _run_stage(self, stage: Stage, optimizer_state: dict[str, Any] | None) -> None:
        if stage.start and not self.progress.epoch:
            weights = self._mean_of(stage.start)
            self.network.load_state_dict(weights)
            self.average.load_state_dict(weights)
        stages.set_trainable(self.network, stage)
        self.optimizer = stages.build_optimizer(self.network, stage, self.recipe)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if optimizer_state and self.progress.epoch:
            self.optimizer.load_state_dict(optimizer_state)
        encode = stages.frozen_encoder(self.network, stage, stage.size or self.recipe.size)
        pool = self._with_own_word(stage) if stage.own_word else self.corpus.pool
        while self.progress.epoch < stage.epochs:
            self._run_epoch(stage, pool, rates, encode)

    def _mean_of(self, names: Sequence[str]) -> dict[str, Tensor]:
        """The mean of the weights at the ends of some stages."""
        return mean_weights([_stage_file(self.output, name) for name in names])

    def _with_own_word(self, stage: Stage) -> Pool:
        """The pool, where the network as it stood after earlier stages says what is wanted of the pictures."""
        network = build_scene_network(self.recipe.network())
        network.load_state_dict(self._mean_of(stage.own_word))
        return own_word(network, self.corpus.pool, self.recipe)

    def _run_epoch(self, stage: Stage, pool: Pool, rates: list[float], encode: Callable[[Tensor], Pyramid]) -> None:
        began = time.monotonic()
        number = self.progress.epoch
        seed = (self.recipe.seed, self.progress.stage, number)
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))  # dropout
        stages.set_training_mode(self.network, stage)
        loader = self._loader(stage, pool, seed)
        total = stage.epochs * len(loader)
        losses = []
        with CountProgress(f"{stage.name} {number + 1}/{stage.epochs}", "batches") as progress:
            for step, batch in enumerate(loader, start=number * len(loader)):
                self._set_rates(rates, stages.learning_rate(step, total, stage))
                losses.append(self._step(Sample(*batch), encode, stage.loss or self.recipe.loss))
                self._update_average(self.recipe.ema if stage.ema is None else stage.ema)
                progress(len(losses), len(loader))
        self.progress.epoch += 1
        result = self._measure() | {
            "loss": float(np.mean(losses)),
            "seconds": round(time.monotonic() - began, 1),
        }
        self._keep(result)
        self.say(f"{stage.name} {number + 1}/{stage.epochs}: " + json.dumps(result))

    def _loader(self, stage: Stage, pool: Pool, seed: tuple[int, ...]) -> DataLoader[Sample]:
        recipe = self.recipe
        order = epoch_order(pool.targets, recipe.balance, stage.epoch_samples, seed)
        size = stage.size or recipe.size
        settings = stage.augmentation or recipe.augmentation
        samples = Samples(pool, order, size, settings, self.palette, seed)
        return DataLoader(samples, recipe.batch, drop_last=True, num_workers=self.workers)

    def _step(self, batch: Sample, encode: Callable[[Tensor], Pyramid], weights: Loss) -> float:
        assert self.optimizer is not None
        picture, target, wanted, labels, scores = (torch.as_tensor(x) for x in batch)
        with mixed.autocast():
            output = self.network.forward_from(encode(normalise(picture, self.recipe.mean, self.recipe.std)))
        output = TrainingOutput(*(part.float() for part in output))
        loss = scene_loss(output, target, wanted, weights)
        loss = loss + weights.segmentation * segmentation_loss(output.segmentation, labels, scores)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        return float(loss.detach())

    def _set_rates(self, rates: list[float], share: float) -> None:
        assert self.optimizer is not None
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share

    @torch.no_grad()
    def _update_average(self, ema: float) -> None:
        """Move the averaged weights towards the current ones, faster at the start."""
        self.progress.updates += 1
        keep = min(ema, self.progress.updates / (self.progress.updates + 20))
        for ours, new in zip(_tensors(self.average), _tensors(self.network), strict=True):
            ours.lerp_(new, 1 - keep) if ours.is_floating_point() else ours.copy_(new)

    def _measure(self) -> dict[str, float]:
        """Figures of the averaged weights on dev."""
        scores = score(self.average, self.corpus.scenes, self.corpus.dev, self.recipe)
        targets = self.corpus.targets[self.corpus.dev]
        report = metrics.summary(metrics.softmax(scores.scene), targets)
        heads = {
            "rgb": metrics.top_k_accuracy(scores.rgb, targets, 1),
            "semantic": metrics.top_k_accuracy(scores.semantic, targets, 1),
        }
        agreement = {"agreement": float(scores.agreement.mean())}
        return {k: round(v, 4) for k, v in (report | heads | agreement).items() if k != "count"}

    def _keep(self, result: dict[str, float]) -> None:
        """Write the checkpoints and the log line of an epoch."""
        self.progress.history.append(result)
        quality = (result["top1"] + result["mca"]) / 2
        if quality > self.progress.best:
            self.progress.best = quality
            save_checkpoint(self.output / "best.pt", {"network": self.average.state_dict(), "dev": result})
        assert self.optimizer is not None
        state = {
            "recipe": self.recipe.model_dump_json(),
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
        }
        save_checkpoint(self.output / "last.pt", state)
        with (self.output / "log.jsonl").open("a", encoding="utf-8") as log:
            print(json.dumps({"stage": self.progress.stage, "epoch": self.progress.epoch} | result), file=log)

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.progress = Progress(**state["progress"])
        self.say(f"resuming after epoch {self.progress.epoch} of stage {self.progress.stage + 1}")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint in one go: a run that is killed meanwhile leaves the old one."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _tensors(network: SceneNetwork) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
