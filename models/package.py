"""A model on disk: a folder with `model.json` (what it is), weights and, if exported, a graph.

Three kinds: `joint`, a segmenter and a classifier on one encoder; `scene`, a scene network that takes the semantics of
any segmenter, or none; `segmenter`, a segmenter alone. Packaged ones lie in `models/zoo`, pulled and imported ones in
the user's cache folder.

The graph (ONNX) holds no weights of its own: it points into the safetensors file, so the two cannot disagree, and a
backend that reads the graph needs no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from config.folders import cache_folder
from config.plugins import describe
from models.crops import CropPreprocess
from models.errors import ModelError
from models.prediction import FloatArray
from models.preprocess import Preprocess

ZOO = Path(__file__).parent / "zoo"

Kind = Literal["joint", "scene", "segmenter"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkSpec(_Part):
    """A segmenter or classifier plug-in by name, with its parameters."""

    kind: str
    params: dict[str, Any] = Field(default_factory=dict)


class UnknownCalibration(_Part):
    """How probable it is that a picture shows none of the scenes, for a network that has a logit for that:
    sigmoid(logit * the network's + entropy * that of the scenes' probabilities in nats + bias)."""

    logit: float
    entropy: float
    bias: float


class Calibration(_Part):
    """What was measured on the `dev` pictures: logits are divided by `temperature`; a picture is called unknown whose
    best probability, or 1 - p(unknown) where there is `unknown`, is under `unknown_threshold`."""

    temperature: float = Field(default=1.0, gt=0)
    unknown_threshold: float = Field(default=0.0, ge=0, le=1)
    unknown: UnknownCalibration | None = None


class ModelFile(_Part):
    """A file beside `model.json`, with the SHA-256 that it must have."""

    path: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """The entry of a file that is there."""
        return cls(path=path.name, sha256=sha256_of(path))


class Origin(_Part):
    """Where an imported model comes from.

    files: name (without its folder) and SHA-256 of each file that was read.
    title: the network in words.
    address: where it was pulled from; none for files from disk.
    epoch, best_prec1: as the checkpoint says; its best Top@1 in per cent on the pictures that it was validated with.
    """

    files: tuple[ModelFile, ...]
    title: str
    address: str | None = None
    epoch: int | None = None
    best_prec1: float | None = None


class Int8Agreement(_Part):
    """How a segmenter in 8 bits compared with float32 when it was made: see `tools.export.int8_segmenter`.

    same_class: share of a picture's positions that have the same best class; the mean over the pictures.
    worst_picture: that share of the picture with the smallest.
    difference: the largest difference of a probability at a position; the mean over positions and pictures.
    pictures: how many they were.
    calibrated_on: on how many pictures the ranges were measured.
    """

    same_class: float = Field(ge=0, le=1)
    worst_picture: float = Field(ge=0, le=1)
    difference: float = Field(ge=0, le=1)
    pictures: int = Field(ge=1)
    calibrated_on: int = Field(ge=1)

    def __str__(self) -> str:
        pictures = "1 picture" if self.pictures == 1 else f"{self.pictures} pictures"
        return (
            f"on {pictures}: the same class as in float32 at {self.same_class:.1%} of positions "
            f"({self.worst_picture:.1%} in the worst picture), probabilities off by {self.difference:.2g} on average"
        )


class Manifest(_Part):
    """The content of `model.json`. `preprocess` belongs to a joint model, `crop` to a scene network; a segmenter alone
    scales pictures itself.

    precisions: those in which the model was measured to say the same as in float32: top-1 equal on at least 99.5 % of
        its `val` pictures, no probability off by more than 0.02. Others are used only when asked for.
    int8: of a segmenter that comes with its network in 8 bits as well, in the files "int8" and "int8_weights".
    """

    name: str
    version: int | str
    segmenter: NetworkSpec | None = None
    classifier: NetworkSpec | None = None
    preprocess: Preprocess | None = None
    crop: CropPreprocess | None = None
    labels: tuple[str, ...] = ()
    semantic_classes: tuple[int, ...] = ()
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    calibration: Calibration = Calibration()
    precisions: tuple[Literal["f32", "bf16", "f16"], ...] = ("f32",)
    int8: Int8Agreement | None = None
    files: dict[str, ModelFile]
    origin: Origin | None = None

    @property
    def kind(self) -> Kind:
        """What the model is made of."""
        if self.classifier is None:
            return "segmenter"
        return "scene" if self.segmenter is None else "joint"

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if self.segmenter is None and self.classifier is None:
            raise ValueError("a model has a segmenter, a classifier or both")
        needed = {"joint": "preprocess", "scene": "crop", "segmenter": None}[self.kind]
        given = [part for part in ("preprocess", "crop") if getattr(self, part) is not None]
        if given != ([needed] if needed else []):
            raise ValueError(f"a {self.kind} model has {needed or 'no preprocess or crop'}, not {given or 'none'}")
        if self.classifier is not None and not self.labels:
            raise ValueError("a model that names scenes has labels")
        return self


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

    @property
    def preprocess(self) -> Preprocess:
        """How a joint model sees a picture.

        Raises:
            ModelError: it is no joint model.
        """
        if self.manifest.preprocess is None:
            raise ModelError(f"model {self.manifest.name!r} is a {self.manifest.kind} model and sees no whole pictures")
        return self.manifest.preprocess

    @property
    def crop(self) -> CropPreprocess:
        """How a scene network sees a picture.

        Raises:
            ModelError: it is no scene network of its own.
        """
        if self.manifest.crop is None:
            raise ModelError(f"model {self.manifest.name!r} is a {self.manifest.kind} model and takes no crops")
        return self.manifest.crop

    @cached_property
    def labels_sha256(self) -> str:
        """SHA-256 of the scene names, one a line: equal for models that name the same scenes in the same order."""
        return hashlib.sha256("\n".join(self.labels).encode()).hexdigest()

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights as the manifest states it."""
        return self.manifest.files["weights"].sha256

    def has(self, part: str) -> bool:
        """Whether the model comes with this file ("weights", "graph", "int8")."""
        return part in self.manifest.files

    def int8_graph(self) -> Path:
        """The checked path of a segmenter's network in 8 bits, an OpenVINO file; its weights lie beside it.

        Raises:
            ModelError: the model comes without, or a file is missing or damaged.
        """
        if not self.has("int8"):
            raise ModelError(
                f"model {self.manifest.name!r} in {self.folder} has no 8-bit files; make them: scene-streamer export "
                f"{self.folder} -o DIR --format openvino --int8 --calibrate PICTURES, and give DIR as model.segmenter"
            )
        self.path("int8_weights")  # the graph points into this file: check it before it is mapped
        return self.path("int8")

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
        found = sha256_of(path)
        if found != entry.sha256:
            raise ModelError(
                f"model {self.manifest.name!r}: {path} is damaged (SHA-256 {found[:12]}..., not "
                f"{entry.sha256[:12]}...); install the model again"
            )
        return path

    def group_shares(self, probabilities: FloatArray, p_unknown: float | None = None) -> dict[str, float]:
        """Probability of each group of scenes ("indoor", "outdoor"): groups that share out all scenes sum to
        1 - `p_unknown`.

        Args:
            probabilities: (C,) of the scenes, summing to 1: if the picture shows one of them.
            p_unknown: that it shows none; None where the model has no such probability.
        """
        place = {name: index for index, name in enumerate(self.labels)}
        known = 1.0 - (p_unknown or 0.0)
        return {
            group: known * float(sum(probabilities[place[name]] for name in members))
            for group, members in self.manifest.groups.items()
        }


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def packaged_models() -> list[str]:
    """Names of the models that come with the installation."""
    return sorted(path.parent.name for path in ZOO.glob("*/model.json"))


def user_models_folder() -> Path:
    """Where pulled and imported models lie, a folder each; it need not exist yet."""
    return cache_folder() / "models"


def user_models() -> list[str]:
    """Names of the models that were pulled or imported on this machine."""
    return sorted(path.parent.name for path in user_models_folder().glob("*/model.json"))


def find_package(name: str) -> ModelPackage:
    """The model `name`: a packaged one, a pulled or imported one, or the folder of one.

    Raises:
        ModelError: there is no such model, or its folder is damaged.
    """
    if name in packaged_models():
        return ModelPackage(ZOO / name)
    if name in user_models():
        return ModelPackage(user_models_folder() / name)
    if (Path(name) / "model.json").is_file():
        return ModelPackage(Path(name))
    raise ModelError(
        f"unknown model {name!r}; known here: {', '.join([*packaged_models(), *user_models()])}; or give the folder "
        "of a model.json, or get one with `scene-streamer models pull` or `models import`"
    )


def _read_manifest(path: Path) -> Manifest:
    try:
        values: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Manifest(**values)
    except (OSError, ValueError, TypeError) as error:
        reason = describe(error, Manifest) if isinstance(error, ValidationError) else str(error)
        raise ModelError(f"{path} is no model description: {reason}") from error
