"""Tells from names and shapes alone which network a state dict belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.package import NetworkSpec
from models.scene_network import CLASSIFIERS

__all__ = ["Identified", "Role", "identify"]

Role = Literal["scene", "segmenter encoder", "segmenter decoder"]
Shapes = dict[str, tuple[int, ...]]

_STEM = "in_block_sem.0.weight"
_INNER = "network."  # what a baseline puts before torchvision's names
_PLACES365 = 365
_MOST_CLASSES = 100_000  # a file that claims more is no scene network
_SHOWN = 3

# Kept by the segmenters' batch norms for training on several cards, and GoogLeNet's heads for training: a file may have
# them or not.
_TRAINING_ONLY = ("._tmp_running_mean", "._tmp_running_var", "._running_iter")
_AUXILIARY = ("aux1.", "aux2.")


@dataclass(frozen=True)
class Identified:
    """What a state dict was recognised as.

    Attributes:
        spec: the plug-in with its parameters; of a segmenter's part, the segmenter.
        role: a whole scene network, or a part of a segmenter.
        title: the network in words.
        scene_classes: C of a scene network, else None.
        state: the tensors under the names that the plug-in's module (or the segmenter's part) has.
        segmenters: the segmenters that the part belongs to; two of them have the same encoder.
    """

    spec: NetworkSpec
    role: Role
    title: str
    scene_classes: int | None
    state: dict[str, Tensor]
    segmenters: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    """A network to compare with.

    mark: a name that its files have; the first of the table whose mark is there is tried first.
    head: the weight whose rows are the scene classes.
    """

    title: str
    mark: str
    head: str = ""
    kind: str = ""
    params: tuple[tuple[str, str], ...] = ()
    segmenter: str = ""
    part: Literal["", "encoder", "decoder"] = ""

    @property
    def role(self) -> Role:
        if self.part:
            return "segmenter encoder" if self.part == "encoder" else "segmenter decoder"
        return "scene"

    def spec(self, scene_classes: int, semantic_classes: int) -> NetworkSpec:
        """The plug-in for so many classes."""
        if self.part:
            return NetworkSpec(kind=self.segmenter)
        params: dict[str, Any] = {**dict(self.params), "scene_classes": scene_classes}
        if self.kind == "two_branch" and params["branches"] != "rgb":
            params["semantic_classes"] = semantic_classes
        return NetworkSpec(kind=self.kind, params=params)


def _two_branch(title: str, mark: str, head: str, branches: str, backbone: str = "resnet18") -> _Candidate:
    params = (("branches", branches), *((("backbone", backbone),) if branches != "semantic" else ()))
    return _Candidate(title, mark, head, "two_branch", params)


def _baseline(title: str, mark: str, head: str, architecture: str) -> _Candidate:
    return _Candidate(f"{title} baseline", mark, head, "places_baseline", (("architecture", architecture),))


def _segmenter(name: str, encoder_mark: str, decoder_mark: str) -> tuple[_Candidate, _Candidate]:
    return (
        _Candidate(f"encoder of {name}", encoder_mark, segmenter=name, part="encoder"),
        _Candidate(f"decoder of {name}", decoder_mark, segmenter=name, part="decoder"),
    )


# A mark that others share stands below the ones that only some of those have.
_SCENE_NETWORKS = (
    _two_branch("two-branch ResNet-50", "lastConvRGB1.0.weight", "fc.weight", "both", "resnet50"),
    _two_branch("two-branch ResNet-18", "lastConvRGB1.0.weight", "fc.weight", "both"),
    _two_branch("semantic-only network", _STEM, "fc_SEM.weight", "semantic"),
    _two_branch("RGB-only ResNet-50", "in_block.0.weight", "fc.weight", "rgb", "resnet50"),
    _two_branch("RGB-only ResNet-18", "in_block.0.weight", "fc.weight", "rgb"),
    _baseline("DenseNet-161", "features.denseblock4.denselayer24.conv2.weight", "classifier.weight", "densenet161"),
    _baseline("GoogLeNet", "inception5b.branch1.conv.weight", "fc.weight", "googlenet"),
    _baseline("VGG-19", "features.34.weight", "classifier.6.weight", "vgg19"),
    _baseline("AlexNet", "classifier.6.weight", "classifier.6.weight", "alexnet"),
    _baseline("ResNet-50", "layer4.2.conv3.weight", "fc.weight", "resnet50"),
    _baseline("ResNet-18", "layer4.1.conv2.weight", "fc.weight", "resnet18"),
)
_SEGMENTER_PARTS = (
    *_segmenter("upernet_r50", "layer4.2.conv3.weight", "ppm_conv.0.0.weight"),
    *_segmenter("ppm_r50dilated", "layer4.2.conv3.weight", "ppm.0.1.weight"),
    *_segmenter("c1_mobilenetv2", "features.17.conv.7.weight", "cbr.0.weight"),
)


def identify(state: Mapping[str, Tensor], name: str = "the checkpoint") -> Identified:
    """Recognise a state dict from its names and shapes.

    Args:
        state: names as `read_checkpoint` gives them.
        name: what to call it in messages.

    Raises:
        ModelError: it fits no known network; names the closest and the keys that differ.
    """
    plain = _without_inner(state)
    shapes: Shapes = {key: tuple(value.shape) for key, value in plain.items()}
    known = (*_SCENE_NETWORKS, *_SEGMENTER_PARTS)
    for candidate in (c for c in known if c.mark in shapes):
        if not _differences(_expected(candidate, shapes), shapes):
            return _identified(candidate, plain, shapes)
    closest = min(known, key=lambda c: sum(map(len, _differences(_expected(c, shapes), shapes).values())))
    raise ModelError(_refusal(name, closest, shapes))


def _without_inner(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A baseline's own state with torchvision's names; any other as it is."""
    if all(key.startswith(_INNER) for key in state):
        return {key.removeprefix(_INNER): value for key, value in state.items()}
    return dict(state)


def _identified(candidate: _Candidate, state: Mapping[str, Tensor], shapes: Shapes) -> Identified:
    expected = _expected(candidate, shapes)
    prefix = _INNER if candidate.kind == "places_baseline" else ""
    full = {prefix + key: state[key] if key in state else torch.zeros(shape) for key, shape in expected.items()}
    scenes, semantic = _classes(candidate, shapes)
    spec = candidate.spec(scenes, semantic)
    if not candidate.part:
        return Identified(spec, "scene", candidate.title, scenes, full)
    same = [c.segmenter for c in _SEGMENTER_PARTS if c.part == candidate.part and _expected(c, shapes) == expected]
    title = candidate.title if len(same) == 1 else f"{candidate.part} of {' or '.join(same)}"
    return Identified(spec, candidate.role, title, None, full, tuple(same))


def _classes(candidate: _Candidate, shapes: Shapes) -> tuple[int, int]:
    """Scene classes from the head, semantic classes from the stem; where those are missing, Places365's and 151."""
    head, stem = shapes.get(candidate.head, ()), shapes.get(_STEM, ())
    scenes = head[0] if len(head) == 2 and 0 < head[0] <= _MOST_CLASSES else _PLACES365
    semantic = stem[1] - 1 if len(stem) == 4 and 1 < stem[1] <= _MOST_CLASSES else 151
    return scenes, semantic


def _expected(candidate: _Candidate, shapes: Shapes) -> Shapes:
    return _shapes_of(candidate, *_classes(candidate, shapes))


@lru_cache(maxsize=64)
def _shapes_of(candidate: _Candidate, scene_classes: int, semantic_classes: int) -> Shapes:
    with torch.device("meta"):  # names and shapes need no numbers
        module = _built(candidate, scene_classes, semantic_classes)
    state = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    return {key.removeprefix(_INNER): shape for key, shape in state.items()}


def _built(candidate: _Candidate, scene_classes: int, semantic_classes: int) -> nn.Module:
    if candidate.part:
        from models.segmenters import build_csail

        return build_csail(candidate.segmenter).get_submodule(candidate.part)
    spec = candidate.spec(scene_classes, semantic_classes)
    module: nn.Module = CLASSIFIERS.build(spec.kind, spec.params)
    return module


def _differences(expected: Shapes, found: Shapes) -> dict[str, list[str]]:
    """Keys that differ, in words, by the kind of difference; empty kinds are left out."""
    missing = [key for key in expected if key not in found and not key.endswith(_TRAINING_ONLY)]
    unexpected = [
        key for key in found if key not in expected and not key.endswith(_TRAINING_ONLY) and not _auxiliary(key, found)
    ]
    other = [
        f"{key} is {_by(found[key])}, not {_by(shape)}"
        for key, shape in expected.items()
        if key in found and found[key] != shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": other}
    return {kind: keys for kind, keys in kinds.items() if keys}


def _auxiliary(key: str, found: Shapes) -> bool:
    return key.startswith(_AUXILIARY) and "inception5b.branch1.conv.weight" in found


def _by(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _refusal(name: str, closest: _Candidate, shapes: Shapes) -> str:
    expected = _expected(closest, shapes)
    if not set(expected) & set(shapes):
        titles = ", ".join(c.title for c in (*_SCENE_NETWORKS, *_SEGMENTER_PARTS))
        few = _few(list(shapes))
        return f"{name} belongs to no known network: it has none of their names but {few}; known: {titles}"
    differing = _differences(expected, shapes)
    said = "; ".join(f"{len(keys)} {kind} ({_few(keys)})" for kind, keys in differing.items())
    scenes = f" for {_classes(closest, shapes)[0]} scenes" if closest.head else ""
    return f"{name} fits no known network; the closest is the {closest.title}{scenes}, but of its keys are: {said}"


def _few(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
