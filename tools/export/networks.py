"""Models as modules that files for others are made of: pictures in, uint8, normalised inside; probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from models.backends.base import Array
from models.crops import CropPreprocess
from models.errors import ModelError
from models.package import ModelPackage
from models.preprocess import Preprocess
from models.scene_classifier import load_scene_network
from models.scene_network import SceneOutput, build_scene_network
from models.scene_parts import SceneParts, scene_parts
from tools.export.stems import DenseStem, LookUpStem

__all__ = ["Exportable", "Picture", "exportable"]

Picture = NDArray[np.uint8]

_LOOK_UP = "semantic stem: by look-up (an embedding bag)"
_DENSE = (
    "semantic stem: dense, the three labels of a pixel scattered into the whole tensor (by look-up with "
    "--format openvino --batch N)"
)


@dataclass(frozen=True)
class Exportable:
    """A model that can be written.

    Attributes:
        module: in evaluation mode on the CPU; takes `*inputs`, and its first output are the probabilities.
        inputs, outputs: names, in the module's order; the first dimension of each is the batch.
        arrays: the inputs for several pictures of any size.
        notes: for the user, how something is expressed.
    """

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arrays: Callable[[Sequence[Picture]], list[Array]]
    notes: tuple[str, ...] = ()


def exportable(package: ModelPackage, form: str, batch: int | None) -> Exportable:
    """The model for one of the formats, `onnx` or `openvino`, and `batch` pictures at a time (None: any number).

    Raises:
        ModelError: it is a segmenter alone, or damaged.
    """
    kind = package.manifest.kind
    if kind == "joint":
        return _joint(package)
    if kind == "scene":
        # OpenVINO has embedding bags, which its CPU plug-in runs for a fixed number of pictures only.
        return _scene(package, by_look_up=form == "openvino" and batch is not None)
    raise ModelError(
        f"model {package.manifest.name!r} is a segmenter that scales pictures itself, each to a size of its own, so "
        "no graph of one size says the same; export a model that names scenes, or this one with --int8, for ours"
    )


class _Joint(nn.Module):
    def __init__(self, network: nn.Module, preprocess: Preprocess, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.normalise = _Normalise(preprocess.mean, preprocess.std)
        self.temperature = temperature

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        (picture,) = inputs
        output: SceneOutput = self.network(self.normalise(picture))
        return ((output.logits / self.temperature).softmax(1), *output)


class _Scene(nn.Module):
    """A scene network of the reference on crops and what a segmenter says of them."""

    def __init__(self, parts: SceneParts, stem: nn.Module | None, crop: CropPreprocess, temperature: float) -> None:
        super().__init__()
        self.parts = parts
        self.stem = stem
        self.normalise = _Normalise(crop.mean, crop.std)
        self.temperature = temperature

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        parts, left = self.parts, list(inputs)
        rgb = parts.rgb(self.normalise(left.pop(0))) if parts.uses_rgb else None
        semantic = parts.semantic(self.stem(*left)) if self.stem is not None else None
        joined = parts.join(rgb, semantic)
        found = ((joined.logits / self.temperature).softmax(1), joined.logits, joined.gate)
        return tuple(tensor for tensor in found if tensor is not None)


class _Normalise(nn.Module):
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 as the network was trained on."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        scale, offset = Preprocess(width=1, height=1, mean=tuple(mean), std=tuple(std)).scale_and_offset()
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("offset", torch.from_numpy(offset))

    def forward(self, picture: Tensor) -> Tensor:
        return (picture.float() * self.get_buffer("scale") + self.get_buffer("offset")).permute(0, 3, 1, 2)


def _joint(package: ModelPackage) -> Exportable:
    manifest, preprocess = package.manifest, package.preprocess
    network = build_scene_network(manifest.model_dump())
    try:
        network.load_state_dict({key: value.float() for key, value in load_file(package.path("weights")).items()})
    except RuntimeError as error:
        raise ModelError(f"the weights of {manifest.name!r} do not fit its networks: {error}") from error
    return Exportable(
        module=_Joint(network, preprocess, manifest.calibration.temperature).eval(),
        inputs=("picture",),
        outputs=("probabilities", *SceneOutput._fields),
        arrays=lambda pictures: [np.stack([preprocess.squash(picture) for picture in pictures])],
    )


def _scene(package: ModelPackage, by_look_up: bool) -> Exportable:
    loaded = load_scene_network(str(package.folder))
    parts = scene_parts(loaded.module).eval()
    kind = LookUpStem if by_look_up else DenseStem
    stem = kind(parts.network.in_block_sem[0]) if parts.uses_semantics else None
    inputs = (("picture",) if parts.uses_rgb else ()) + (("labels", "scores") if parts.uses_semantics else ())
    gated = ("gate",) if parts.uses_rgb and parts.uses_semantics else ()
    classes = parts.network.in_block_sem[0].in_channels - 1 if parts.uses_semantics else 0

    def arrays(pictures: Sequence[Picture]) -> list[Array]:
        crops = np.stack([_centre(package.crop, picture) for picture in pictures])
        return ([crops] if parts.uses_rgb else []) + (list(_made_semantics(crops, classes)) if classes else [])

    return Exportable(
        module=_Scene(parts, stem, package.crop, package.manifest.calibration.temperature).eval(),
        inputs=inputs,
        outputs=("probabilities", "logits", *gated),
        arrays=arrays,
        notes=(_LOOK_UP if by_look_up else _DENSE,) if parts.uses_semantics else (),
    )


def _centre(crop: CropPreprocess, picture: Picture) -> Picture:
    resized = crop.resized(picture)
    (box,) = crop.boxes(resized)
    return np.ascontiguousarray(resized[box.top : box.top + crop.side, box.left : box.left + crop.side])


def _made_semantics(crops: Picture, classes: int) -> tuple[Array, Array]:
    """Labels and scores of crops (B, H, W, 3) for a check: a channel's grey level stands for its label and score."""
    planes = crops.transpose(0, 3, 1, 2)
    return (planes // 16 % classes).astype(np.uint8), planes.astype(np.float32) / np.float32(255)
