"""Imports: from a checkpoint of others to a model package in the user's folder."""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from config.labels import parse_labels
from models.checkpoint import Checkpoint, read_checkpoint
from models.crops import CropPreprocess
from models.errors import ModelError
from models.identify import Identified, identify
from models.label_base import STEM, LabelBaseGuess, guess_label_base
from models.package import Manifest, ModelFile, ModelPackage, Origin, packaged_models, user_models_folder
from models.scene_classifier import labels_for
from streamer.files import output_errors

__all__ = ["check_model_name", "import_model", "label_base_of", "read_label_file"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_WEIGHTS = "weights.safetensors"
_INCOMING = ".incoming"  # models in the making; one level deeper than models lie, so that none is taken for one
_STALE_S = 24 * 3600.0
_NUMBERED = re.compile(r"(.*\S)\s+(\d+)")
_LETTER = re.compile(r"/\w/(.+)")
_ADE20K_IDS = tuple(range(1, 151))

_Part = tuple[Checkpoint, Identified]


def import_model(
    files: Sequence[Path],
    name: str,
    labels: Path | None = None,
    overwrite: bool = False,
    *,
    address: str | None = None,
) -> ModelPackage:
    """Make a model package of a checkpoint: of a scene network's one file, or of a segmenter's two, in any order.

    Nothing in the files is executed. The package appears whole or not at all.

    Args:
        files: `.pth.tar`, `.pth` or safetensors.
        name: of the model, of a-z, 0-9, dot, dash and underscore.
        labels: a text file with the scene names, for a network whose file does not say them and whose number of
            classes is not that of Places365, MIT Indoor 67, SUN 397 or ADE20K.
        overwrite: replace a model of that name that was imported or pulled.
        address: where the files were pulled from, for `model.json`.

    Raises:
        ModelError: a file is no checkpoint or of no known network, files that do not belong together, labels that do
            not fit, or a name that is not allowed or taken.
        OutputError: the package cannot be written.
    """
    check_model_name(name)
    target = user_models_folder() / name
    if target.exists() and not overwrite:
        raise ModelError(f"there is a model {name!r} already; choose another name, or replace it with --force")
    manifest, state = _converted(_read_parts(files), name, labels)
    if address is not None and manifest.origin is not None:
        origin = manifest.origin.model_copy(update={"address": address})
        manifest = manifest.model_copy(update={"origin": origin})
    _write(target, manifest, state)
    return ModelPackage(target)


def check_model_name(name: str) -> None:
    """Refuse a name that no model of the user's may have.

    Raises:
        ModelError: other characters, too long, or the name of a packaged model.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"a model cannot be called {name!r}: 1 to 64 of a-z, 0-9, '.', '_', '-', the first a letter or a digit"
        )
    if name in packaged_models():
        raise ModelError(f"{name!r} is a model that comes with Scene Streamer; choose another name")


def label_base_of(package: ModelPackage) -> LabelBaseGuess | None:
    """What a package's weights suggest about the base of the labels; None without a semantic branch.

    Raises:
        ModelError: the weights are missing or no safetensors file.
    """
    path = package.folder / package.manifest.files["weights"].path
    try:
        with safetensors.safe_open(path, "pt") as file:
            return guess_label_base({STEM: file.get_tensor(STEM)} if STEM in file.keys() else {})  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"the weights of model {package.manifest.name!r} cannot be read: {error}") from error


def read_label_file(path: Path) -> tuple[str, ...]:
    """Scene names from a text file: one a line in the order of the outputs, or numbered as the data sets' lists are.

    Numbered lines ("/k/kitchen 43") are put in the order of their numbers, which begin with 0. Names get the spelling
    of the packaged lists: "/f/field/cultivated" is "field-cultivated".

    Raises:
        ModelError: it cannot be read, or is no such list.
        ConfigError: no name in it, or one twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text in UTF-8"
        raise ModelError(f"labels {path} cannot be read: {reason}") from error
    names = parse_labels(text, path.stem).names
    numbered = [_NUMBERED.fullmatch(name) for name in names]
    if all(numbered):
        rows = {int(row[2]): row[1] for row in numbered if row is not None}
        if sorted(rows) != list(range(len(names))):
            raise ModelError(f"labels {path}: the numbers are not 0..{len(names) - 1}, each once")
        names = tuple(rows[number] for number in range(len(names)))
    return tuple(_spelling(name) for name in names)


def _spelling(name: str) -> str:
    letter = _LETTER.fullmatch(name)
    return letter[1].replace("/", "-") if letter else name


def _read_parts(files: Sequence[Path]) -> list[_Part]:
    if not 1 <= len(files) <= 2:
        raise ModelError("give the one file of a scene network, or the two of a segmenter (encoder and decoder)")
    checkpoints = [read_checkpoint(file) for file in files]
    parts = [(checkpoint, identify(checkpoint.state, f"checkpoint {checkpoint.path}")) for checkpoint in checkpoints]
    for checkpoint, found in parts:
        _check_finite(found.state, checkpoint.path)
    return parts


def _check_finite(state: dict[str, Tensor], path: Path) -> None:
    for key, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(f"checkpoint {path}: {key} has values that are no numbers; its training went wrong")


def _converted(parts: list[_Part], name: str, labels: Path | None) -> tuple[Manifest, dict[str, Tensor]]:
    """What the package says, but for the weights' own checksum, and its weights."""
    scenes = [part for part in parts if part[1].role == "scene"]
    if scenes and len(parts) > 1:
        raise ModelError(f"{scenes[0][0].path} is a {scenes[0][1].title}, a whole model; import it alone")
    if scenes:
        return _scene_network(scenes[0], name, labels)
    if labels is not None:
        raise ModelError("a segmenter names no scenes; import it without --labels")
    return _segmenter(parts, name)


def _scene_network(part: _Part, name: str, labels: Path | None) -> tuple[Manifest, dict[str, Tensor]]:
    checkpoint, found = part
    assert found.scene_classes is not None
    stated = read_label_file(labels) if labels is not None else checkpoint.meta.get("labels")
    whose = f"labels {labels}" if labels is not None else f"checkpoint {checkpoint.path}"
    names = labels_for(found.scene_classes, stated, whose)
    if names is None:
        raise ModelError(
            f"checkpoint {checkpoint.path} is a {found.title} for {found.scene_classes} scenes and does not name them; "
            "give the names with --labels FILE, one a line in the order of the outputs"
        )
    manifest = Manifest(
        name=name,
        version=checkpoint.sha256[:8],
        classifier=found.spec,
        crop=CropPreprocess(),
        labels=names,
        files={"weights": ModelFile(path=_WEIGHTS, sha256="")},
        origin=_origin([part], found.title),
    )
    return manifest, _float32(found.state)


def _segmenter(parts: list[_Part], name: str) -> tuple[Manifest, dict[str, Tensor]]:
    by_role = {found.role: found for _, found in parts}
    if len(by_role) < 2:
        titles = " and the ".join(found.title for _, found in parts)
        raise ModelError(f"that is the {titles}: give a segmenter's encoder file and its decoder file together")
    encoder, decoder = by_role["segmenter encoder"], by_role["segmenter decoder"]
    both = [segmenter for segmenter in encoder.segmenters if segmenter in decoder.segmenters]
    if not both:
        raise ModelError(f"the {encoder.title} and the {decoder.title} do not belong together")
    state = {f"encoder.{key}": value for key, value in encoder.state.items()}
    state |= {f"decoder.{key}": value for key, value in decoder.state.items()}
    manifest = Manifest(
        name=name,
        version=hashlib.sha256("".join(sorted(checkpoint.sha256 for checkpoint, _ in parts)).encode()).hexdigest()[:8],
        segmenter=decoder.spec,
        semantic_classes=_ADE20K_IDS,
        files={"weights": ModelFile(path=_WEIGHTS, sha256="")},
        origin=_origin(parts, f"segmenter {both[0]}"),
    )
    return manifest, _float32(state)


def _origin(parts: list[_Part], title: str) -> Origin:
    files = tuple(ModelFile(path=checkpoint.path.name, sha256=checkpoint.sha256) for checkpoint, _ in parts)
    meta = parts[0][0].meta if len(parts) == 1 else {}
    epoch, best = _number(meta, "epoch"), _number(meta, "best_prec1")
    return Origin(files=files, title=title, epoch=int(epoch) if epoch is not None else None, best_prec1=best)


def _number(meta: dict[str, Any], key: str) -> float | None:
    value = meta.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


def _float32(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating point as float32, each tensor with memory of its own."""
    return {
        key: value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True).contiguous()
        for key, value in state.items()
    }


def _write(target: Path, manifest: Manifest, state: dict[str, Tensor]) -> None:
    with output_errors(target), _folder_in_the_making(target) as folder:
        weights = safetensors.torch.save(state)
        (folder / _WEIGHTS).write_bytes(weights)
        files = {"weights": ModelFile(path=_WEIGHTS, sha256=hashlib.sha256(weights).hexdigest())}
        content = manifest.model_copy(update={"files": files}).model_dump(mode="json", exclude_none=True)
        (folder / "model.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        _move(folder, target)


@contextmanager
def _folder_in_the_making(target: Path) -> Iterator[Path]:
    """An empty folder on the target's disk; what is left in it goes, whatever happens."""
    incoming = target.parent / _INCOMING
    incoming.mkdir(parents=True, exist_ok=True)
    for old in incoming.iterdir():  # of imports that were killed
        if time.time() - old.stat().st_mtime > _STALE_S:
            shutil.rmtree(old, ignore_errors=True)
    folder = incoming / secrets.token_hex(8)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(folder: Path, target: Path) -> None:
    """Put the finished folder in the place of the target; a former one is gone only then."""
    if not target.exists():
        folder.rename(target)
        return
    former = folder.with_name(f"{folder.name}.former")
    target.rename(former)
    try:
        folder.rename(target)
    except BaseException:
        former.rename(target)
        raise
    shutil.rmtree(former, ignore_errors=True)
