"""Checks of models on disk: every file against its checksum, and the weights against the network."""

from __future__ import annotations

from pathlib import Path

from models.errors import ModelError
from models.package import ModelPackage, find_package

__all__ = ["verify_model"]


def verify_model(name: str) -> list[Path]:
    """Check a model: its files' SHA-256, and that its weights load into its network.

    Returns:
        The files that were checked.

    Raises:
        ModelError: no such model, or a file of it is missing, damaged or does not fit.
        UnknownPluginError, ConfigError: `model.json` names a network or a parameter that does not exist.
    """
    package = find_package(name)
    files = [package.path(part) for part in package.manifest.files]
    if package.has("weights"):
        _load(package)
    elif package.manifest.kind != "joint":
        raise ModelError(f"model {name!r} has no weights; import it again")
    return files


def _load(package: ModelPackage) -> None:
    folder = str(package.folder)
    if package.manifest.kind == "scene":
        from models.scene_classifier import load_scene_network

        load_scene_network(folder)
    elif package.manifest.kind == "segmenter":
        from models.segmentation import load_segmenter

        load_segmenter(folder, device="cpu")
    else:
        from models.backends.torch import Params, build

        build(Params(device="cpu"), package=package)
