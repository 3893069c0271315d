"""The folder of a training: what it holds appears when all is done, and a broken-off training leaves nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from config.errors import ConfigError
from streamer.errors import OutputError
from streamer.files import output_errors, write_bytes

MODEL, REPORT = "model", "report.json"


def check_output(folder: Path, force: bool, pictures: Path | None) -> None:
    """Make sure that a model may be written into `folder`.

    Args:
        force: a former model there is replaced.
        pictures: the folder of scenes, if there is one: a model in it would be taken for a scene.

    Raises:
        ConfigError, OutputError: it may not.
    """
    if pictures is not None and folder.resolve().is_relative_to(pictures.resolve()):
        raise ConfigError(f"--output {folder} lies in the folder of the pictures, where each folder is a scene")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"cannot write {folder}: a file of that name stands in the way")
    model = folder / MODEL
    if model.exists() and not (model / "model.json").is_file():
        raise OutputError(f"{model} is there and is no model; choose another --output")
    if (model.exists() or (folder / REPORT).exists()) and not force:
        raise OutputError(f"{folder} holds a model already: replace it with --force, or choose another --output")


def check_space(folder: Path, needed: int) -> None:
    """Make sure that the disk of `folder` has `needed` bytes free.

    Raises:
        OutputError: it has not.
    """
    if needed > (free := shutil.disk_usage(folder).free):
        raise OutputError(
            f"{folder.parent} needs {needed / 1e9:.1f} GB for the time being and has {free / 1e9:.1f} GB free: make "
            "room, or choose another --output or fewer --views"
        )


@contextlib.contextmanager
def working_folder(output: Path) -> Iterator[Path]:
    """A folder in `output` for what is being made; gone at the end, and `output` too if nothing else came of it."""
    new = not output.exists()
    with output_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".scene-streamer-", suffix=".part", dir=output))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if new:
            with contextlib.suppress(OSError):  # it is not empty
                output.rmdir()


def publish(work: Path, output: Path, report: dict[str, Any]) -> None:
    """Move the finished model from `work` to its place, and write the report beside it."""
    text = json.dumps(report, indent=2) + "\n"
    with output_errors(output):
        if (output / MODEL).exists():
            (output / MODEL).rename(work / "former")
        (work / MODEL).rename(output / MODEL)
    write_bytes(output / REPORT, text.encode())
