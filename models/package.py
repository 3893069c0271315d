"""A model on disk: a folder with `model.json` (what it is), weights and, if exported, a graph.

The graph (ONNX) holds no weights of its own: it points into the safetensors file, so the two cannot disagree, and a
backend that reads the graph needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from config.plugins import describe
from models.errors import ModelError
from models.prediction import FloatArray
from models.preprocess import Preprocess

ZOO = Path(__file__).parent / "zoo"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkSpec(_Part):
    """A segmenter or classifier plug-in by name, with its parameters."""

    kind: str
    params: dict[str, Any] = Field(default_factory=dict)


class Calibration(_Part):
    """What was measured on the `dev` pictures: logits are divided by `temperature`; a picture whose best probability
    is under `unknown_threshold` shows none of the scenes."""

    temperature: float = Field(default=1.0, gt=0)
    unknown_threshold: float = Field(default=0.0, ge=0, le=1)


class ModelFile(_Part):
    """A file beside `model.json`, with the SHA-256 that it must have."""

    path: str
    sha256: str


class Manifest(_Part):
    """The content of `model.json`."""

    name: str
    version: int | str
    segmenter: NetworkSpec
    classifier: NetworkSpec
    preprocess: Preprocess
    labels: tuple[str, ...]
    semantic_classes: tuple[int, ...]
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    calibration: Calibration = Calibration()
    files: dict[str, ModelFile]


class ModelPackage:
    """A folder with a model.

    Raises:
        ModelError: `model.json` is missing or wrong.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = _read_manifest(folder / "model.json")

    @property
    def labels(self) -> tuple[str, ...]:
        """Scene names, in the order of the logits."""
        return self.manifest.labels

    @cached_property
    def labels_sha256(self) -> str:
        """SHA-256 of the scene names, one a line: equal for models that name the same scenes in the same order."""
        return hashlib.sha256("\n".join(self.labels).encode()).hexdigest()

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights as the manifest states it."""
        return self.manifest.files["weights"].sha256

    def has(self, part: str) -> bool:
        """Whether the model comes with this file ("weights", "graph")."""
        return part in self.manifest.files

    def path(self, part: str) -> Path:
        """The checked path of a file of the model.

        Raises:
            ModelError: the model has no such file, or it is missing or damaged.
        """
        if part not in self.manifest.files:
            raise ModelError(f"model {self.manifest.name!r} comes without a {part} file")
        entry = self.manifest.files[part]
        path = self.folder / entry.path
        if not path.is_file():
            raise ModelError(f"model {self.manifest.name!r}: {path} is missing; install the model again")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != entry.sha256:
            raise ModelError(
                f"model {self.manifest.name!r}: {path} is damaged (SHA-256 {found[:12]}..., not "
                f"{entry.sha256[:12]}...); install the model again"
            )
        return path

    def group_shares(self, probabilities: FloatArray) -> dict[str, float]:
        """Sum of the scene probabilities (C,) per group of scenes ("indoor", "outdoor")."""
        place = {name: index for index, name in enumerate(self.labels)}
        return {
            group: float(sum(probabilities[place[name]] for name in members))
            for group, members in self.manifest.groups.items()
        }


def packaged_models() -> list[str]:
    """Names of the models that come with the installation."""
    return sorted(path.parent.name for path in ZOO.glob("*/model.json"))


def find_package(name: str) -> ModelPackage:
    """The model `name`: a packaged one, or the folder of one.

    Raises:
        ModelError: there is no such model, or its folder is damaged.
    """
    if name in packaged_models():
        return ModelPackage(ZOO / name)
    if (Path(name) / "model.json").is_file():
        return ModelPackage(Path(name))
    raise ModelError(
        f"unknown model {name!r}; packaged: {', '.join(packaged_models())}; or give the folder of a model.json"
    )


def _read_manifest(path: Path) -> Manifest:
    try:
        values: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Manifest(**values)
    except (OSError, ValueError, TypeError) as error:
        reason = describe(error, Manifest) if isinstance(error, ValidationError) else str(error)
        raise ModelError(f"{path} is no model description: {reason}") from error
