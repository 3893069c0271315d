"""A whole run: the recipe, the pictures, the stages one after the other, the model at the end.

A run lives in one folder: `rgb/`, `semantic/`, `both/` (`loop.py` says what is in them), `cache/` (decoded pictures,
may be deleted), and `model/`, ready for `scene-streamer run --set model=OUTPUT/model`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from config.errors import UserError
from tools.train.two_stage.checkpoints import BEST, LAST, Run
from tools.train.two_stage.corpus import Corpus, load_corpus
from tools.train.two_stage.distributed import joined, own_device
from tools.train.two_stage.loop import Machine, StageTraining, stage_order
from tools.train.two_stage.package import write_model
from tools.train.two_stage.recipe import Recipe, StageName
from tools.train.two_stage.stages import start_stage


def run_training(
    recipe: Recipe,
    root: Path,
    output: Path,
    *,
    stage: StageName | str = "all",
    resume: bool = False,
    workers: int = 1,
    device: str = "auto",
    semantics: Path | None = None,
    cache: Path | None = None,
    decode_always: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Train `stage` ("rgb", "semantic", "both", or "all") by `recipe` on the data under `root` into `output`.

    Args:
        recipe: what to do.
        root: the data set.
        output: the run's folder.
        stage: which stages.
        resume: go on with what is there; finished stages are left as they are.
        workers: processes that prepare pictures, for each process of the run.
        device: auto, cpu, cuda or cuda:N.
        semantics: folder of the precomputed semantics, unless the recipe or the root has them.
        cache: folder of decoded pictures, in `output` unless given.
        decode_always: keep no decoded pictures.
        say: hears a line now and then.

    Raises:
        UserError: a recipe, a list, a picture, a checkpoint or a folder that cannot be used; says what would be right.
    """
    stages = stage_order(stage)
    _check_output(output, stages, resume)
    place = own_device(device)
    with joined(place) as processes:
        corpus = load_corpus(recipe.data, root, semantics)
        folder = None if decode_always else cache or output / "cache"
        quiet = say if processes.is_first else _nothing
        machine = Machine(place, processes, workers, folder, quiet)
        _introduce(recipe, corpus, machine)
        try:
            for name in stages:
                _run_stage(recipe, name, corpus, output, machine, resume)
                processes.wait()  # the next stage reads what the first process wrote
        except KeyboardInterrupt:
            quiet(f"interrupted; go on after the last whole epoch with --resume ({output})")
            raise


def _run_stage(recipe: Recipe, stage: StageName, corpus: Corpus, output: Path, machine: Machine, resume: bool) -> None:
    _check_semantics(stage, corpus)
    start = start_stage(recipe, stage, corpus.labels, output)
    run = Run(recipe, stage, corpus.labels, start.origin)
    machine.say(f"{stage}: starts from {start.origin}")
    training = StageTraining(run, start.network, corpus, output / stage, machine)
    progress = training.train(resume)
    best = output / stage / BEST
    machine.say(f"{stage}: best Top@1 {progress.best:.2f} on {recipe.data.watch}, in {best}")
    if stage == "both":
        machine.processes.wait()
        write_model(training, best, output / "model")
        machine.say(f"wrote {output / 'model'}")


def _check_output(output: Path, stages: Sequence[StageName], resume: bool) -> None:
    held = [stage for stage in stages if (output / stage / LAST).exists()]
    if held and not resume:
        raise UserError(
            f"{output} holds a run already ({', '.join(held)}): go on with --resume, or choose another folder"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {output}: {error.strerror}") from error


def _check_semantics(stage: StageName, corpus: Corpus) -> None:
    """Say before hours of work if semantics are missing."""
    if stage == "rgb":
        return
    for split in (corpus.train, corpus.watch):
        missing = [entry for entry in split.manifest.entries if not corpus.semantics.exists(entry)]
        if missing:
            labels, scores = corpus.semantics.paths(missing[0])
            raise UserError(
                f"stage {stage} needs the semantics of all pictures; {len(missing)} of {len(split)} have none, the "
                f"first {missing[0].path}: expected {labels} and {scores}; write them with `scene-streamer precompute`,"
                " or say where they are with --semantics"
            )


def _introduce(recipe: Recipe, corpus: Corpus, machine: Machine) -> None:
    for note in corpus.notes:
        machine.say(note)
    machine.say(
        f"{recipe.name}: {len(corpus.train)} pictures of {len(corpus.labels)} scenes to train on, {len(corpus.watch)} "
        f"watched ({recipe.data.watch}); {machine.processes.count} x {machine.device}"
    )


def _nothing(_line: str) -> None:
    """The first process speaks for all."""
