"""The training of one stage, from top to bottom: epochs, steps, figures on the watched pictures, checkpoints.

A stage lives in one folder: `last.pth.tar` (to resume from), `best.pth.tar` (what did best on the watched pictures),
`log.jsonl` (a line per epoch) and `tensorboard/`. Resuming repeats what an unbroken run does, bit for bit on a CPU.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from config.errors import UserError
from tools import metrics
from tools.progress import CountProgress
from tools.train.dfw import DFW
from tools.train.two_stage.cache import Pictures
from tools.train.two_stage.checkpoints import BEST, LAST, Progress, Run, read_last, write_checkpoint
from tools.train.two_stage.corpus import Corpus, Split
from tools.train.two_stage.data import Sample, TrainingSamples, WatchedSamples, epoch_rows
from tools.train.two_stage.distributed import Processes
from tools.train.two_stage.optimisers import build_optimiser, rate_share, set_rate, take_step
from tools.train.two_stage.recipe import STAGES, Precision, StageName
from tools.train.two_stage.stages import classify, set_trainable, set_training_mode

_WATCHED_BATCH = 50
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Machine:
    """What a run has to work with; its results do not depend on it, but for the last digits.

    Attributes:
        device: of this process.
        processes: all of the run.
        workers: processes that prepare this process's pictures; 0 does it in between.
        cache: folder of decoded pictures; None decodes them in every epoch.
        say: hears a line now and then.
    """

    device: torch.device
    processes: Processes
    workers: int = 1
    cache: Path | None = None
    say: Callable[[str], None] = print


class StageTraining:
    """One stage of a run: `network` learns from `corpus`, everything is kept in `folder`."""

    def __init__(self, run: Run, network: nn.Module, corpus: Corpus, folder: Path, machine: Machine) -> None:
        self.run, self.corpus, self.folder, self.machine = run, corpus, folder, machine
        self.settings = run.recipe.stage(run.stage)
        self.seed = (run.recipe.seed, STAGES.index(run.stage))
        self.network = network.to(machine.device, memory_format=torch.channels_last)
        machine.processes.share_weights(self.network)
        self.trained = set_trainable(self.network, run.stage)
        self.optimiser: Optimizer = build_optimiser(self.trained, self.settings.optimiser)
        self.scaler = _scaler(self.settings.precision, machine.device)
        self.stats = _channel_stats(corpus, machine.device)
        self.progress = Progress()

    def train(self, resume: bool) -> Progress:
        """Train all epochs that are left.

        Raises:
            UserError: a checkpoint of another run, a picture that cannot be read, or a loss that is no number.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if resume and (self.folder / LAST).exists():
            self._restore(read_last(self.folder / LAST, self.run))
        with _Log(self.folder if self.machine.processes.is_first else None, self.progress.epoch) as log:
            while not self.progress.finished:
                began = time.monotonic()
                figures = self._train_epoch() | {"seconds_training": round(time.monotonic() - began, 1)}
                figures |= self._watch() | {"seconds": round(time.monotonic() - began, 1)}
                self._keep(figures)
                log.write(self.progress.epoch, figures)
                self._say(figures)
        return self.progress

    def _train_epoch(self) -> dict[str, float]:
        epoch, processes = self.progress.epoch, self.machine.processes
        seed = (*self.seed, epoch)
        # Dropout: other masks in every epoch and process, the same ones when the run is repeated.
        torch.manual_seed(int(np.random.SeedSequence((*seed, processes.rank)).generate_state(1)[0]))
        set_training_mode(self.network, self.run.stage)
        rows = epoch_rows(len(self.corpus.train), epoch, self.settings.epoch_samples, self.seed)
        pictures = self._pictures(self.corpus.train)
        samples = TrainingSamples(pictures, self.corpus.train.targets, rows, self.run.recipe.augmentation, seed)
        batches = processes.slice_of_batches(len(rows), self.settings.batch)
        steps, losses, gammas = self.settings.epochs * len(batches), [], []
        with CountProgress(f"{self.run.stage} {epoch + 1}/{self.settings.epochs}", "batches") as progress:
            for step, batch in enumerate(self._loader(samples, batches), start=epoch * len(batches)):
                share = rate_share(self.settings.optimiser, step, steps, epoch)
                set_rate(self.optimiser, self.settings.optimiser.lr * share)
                losses.append(self._step(batch))
                gammas += [self.optimiser.gamma] if isinstance(self.optimiser, DFW) else []
                if processes.is_first:
                    progress(len(losses), len(batches))
        processes.average_statistics(self.network)
        figures = {"loss": float(np.mean(losses)), "rate": self.settings.optimiser.lr * share}
        return figures | ({"gamma": float(np.mean(gammas))} if gammas else {})

    def _step(self, batch: Sample) -> float:
        """One step on this process's slice of a batch; the loss of the whole batch."""
        with self._precision():
            logits = self._logits(batch)
        target = torch.as_tensor(batch.target).to(self.machine.device)
        loss = F.cross_entropy(logits.float(), target, label_smoothing=self.settings.label_smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        self.machine.processes.average_gradients(self.trained)
        loss = self.machine.processes.average(loss.detach())
        value = float(loss)
        if not math.isfinite(value):
            raise UserError(
                f"the loss of stage {self.run.stage} is {value} in epoch {self.progress.epoch + 1}: lower "
                f"stages.{self.run.stage}.optimiser.lr, or train in float32"
            )
        take_step(self.optimiser, loss, self.scaler)
        return value

    @torch.no_grad()
    def _watch(self) -> dict[str, float]:
        """Figures of the centre crops of the watched pictures."""
        logits, targets = self.watched_logits(), self.corpus.watch.targets
        predictions = logits.argmax(axis=1)
        confusion = metrics.confusion_matrix(predictions, targets, logits.shape[1])
        return {
            "watched_loss": metrics.entropy_loss(metrics.softmax(logits), targets),
            "top1": 100 * float((predictions == targets).mean()),
            "mca": 100 * metrics.mean_class_accuracy(confusion),
        }

    @torch.no_grad()
    def watched_logits(self) -> NDArray[np.float32]:
        """Logits (N, C) of the watched pictures' centre crops, every process doing its share."""
        self.network.eval()
        processes, split = self.machine.processes, self.corpus.watch
        rows = np.arange(processes.rank, len(split), processes.count)
        samples = WatchedSamples(self._pictures(split), split.targets, rows)
        batches = [list(range(i, min(i + _WATCHED_BATCH, len(rows)))) for i in range(0, len(rows), _WATCHED_BATCH)]
        parts = [np.empty((0, len(self.corpus.labels)), np.float32)]
        for batch in self._loader(samples, batches):
            with self._precision():
                parts.append(self._logits(batch).float().cpu().numpy())
        return processes.gathered(np.concatenate(parts))

    def _logits(self, batch: Sample) -> Tensor:
        picture, labels, scores = (
            torch.as_tensor(x).to(self.machine.device, non_blocking=True) for x in batch[:3]
        )  # fmt: skip
        return classify(self.network, self.run.stage, picture, labels, scores, self.stats)

    def _pictures(self, split: Split) -> Pictures:
        semantics = None if self.run.stage == "rgb" else self.corpus.semantics
        needs_picture = self.run.stage != "semantic"
        return Pictures(split.manifest, self.corpus.crop, semantics, needs_picture, self.machine.cache)

    def _loader(self, samples: Dataset[Sample], batches: list[list[int]]) -> DataLoader[Sample]:
        return DataLoader(
            samples,
            batch_sampler=batches,
            num_workers=self.machine.workers,
            pin_memory=self.machine.device.type == "cuda",
            worker_init_fn=_start_worker,
        )

    def _precision(self) -> AbstractContextManager[Any]:
        if self.settings.precision == "float32":
            return nullcontext()
        return torch.autocast(self.machine.device.type, _DTYPES[self.settings.precision])

    def _keep(self, figures: dict[str, float]) -> None:
        """Count the epoch, write the last checkpoint, and the best one if it is."""
        progress, patience = self.progress, self.settings.patience
        progress.epoch += 1
        progress.history.append(figures)
        is_best = figures["top1"] > progress.best
        if is_best:
            progress.best, progress.best_epoch = figures["top1"], progress.epoch
        is_patient = patience is None or progress.epoch - progress.best_epoch < patience
        progress.finished = progress.epoch >= self.settings.epochs or not is_patient
        if not self.machine.processes.is_first:
            return
        if is_best:  # before the last one: a run that is killed in between repeats this epoch
            write_checkpoint(self.folder / BEST, self.run, self.network, progress)
        write_checkpoint(self.folder / LAST, self.run, self.network, progress, self.optimiser, self.scaler)

    def _restore(self, content: dict[str, Any]) -> None:
        self.network.load_state_dict(content["state_dict"])
        self.optimiser.load_state_dict(content["optimizer"])
        if self.scaler is not None:
            self.scaler.load_state_dict(content["scaler"])
        self.progress = Progress(**content["progress"])
        self.machine.say(f"{self.run.stage}: going on after epoch {self.progress.epoch}")

    def _say(self, figures: dict[str, float]) -> None:
        progress = self.progress
        early = progress.finished and progress.epoch < self.settings.epochs
        self.machine.say(
            f"{self.run.stage} {progress.epoch}/{self.settings.epochs}: loss {figures['loss']:.3f}, "
            f"Top@1 {figures['top1']:.2f} (best {progress.best:.2f} in epoch {progress.best_epoch}), "
            f"MCA {figures['mca']:.2f}, {figures['seconds']:.0f} s"
            + (f"; stopped early, no better for {self.settings.patience} epochs" if early else "")
        )


class _Log:
    """The lines of `log.jsonl` and the curves of TensorBoard; nothing without a folder."""

    def __init__(self, folder: Path | None, epochs_done: int) -> None:
        self._file, self._writer = None, None
        if folder is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        self._file = folder / "log.jsonl"
        lines = self._file.read_text(encoding="utf-8").splitlines()[:epochs_done] if self._file.exists() else []
        self._file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=epochs_done + 1)

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, epoch: int, figures: dict[str, float]) -> None:
        if self._file is None or self._writer is None:
            return
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"epoch": epoch, **figures}) + "\n")
        for name, value in figures.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()


def _scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler | None:
    """Scales the loss where gradients of float16 would vanish."""
    if precision != "float16":
        return None
    if device.type != "cuda":
        raise UserError("float16 needs CUDA; set precision to bfloat16 or float32 on the CPU")
    return torch.amp.GradScaler("cuda")


def _channel_stats(corpus: Corpus, device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(x, device=device).view(1, 3, 1, 1) for x in (corpus.crop.mean, corpus.crop.std))
    return mean, std


def _start_worker(_number: int) -> None:
    cv2.setNumThreads(0)  # its threads did not survive the fork


def stage_order(stage: StageName | str) -> list[StageName]:
    """The stages that `--stage` stands for, in their order."""
    return list(STAGES) if stage == "all" else [name for name in STAGES if name == stage]
