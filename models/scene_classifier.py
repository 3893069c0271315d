"""`load_scene_network`: a scene network from a checkpoint file, or from a model package, ready to classify."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from config.labels import label_lists, load_labels
from models.checkpoint import read_checkpoint
from models.crops import CropPreprocess
from models.errors import ModelError
from models.identify import identify
from models.package import ModelPackage, NetworkSpec, find_package, packaged_models, user_models
from models.scene_network import CLASSIFIERS

__all__ = ["Branch", "SceneNetworkFile", "build_network", "labels_for", "load_scene_network"]

Branch = Literal["both", "rgb", "semantic"]

# Which list names the scenes of a network that does not say: the number of its classes tells the data sets apart.
_DATA_SETS = ("places365", "mit67", "sun397", "ade20k_scenes")

_BRANCHES = {"both": "both branches", "rgb": "the RGB branch alone", "semantic": "the semantic branch alone"}


@dataclass(frozen=True)
class SceneNetworkFile:
    """A scene network with what its file says of it.

    Attributes:
        module: in eval mode on the CPU; `forward(rgb, semantic) -> SceneLogits`.
        labels: the C scene names in the order of the logits, or None where nothing tells them.
        scene_classes: C.
        spec: the plug-in that `module` was built from.
        title: the network in words.
        sha256: of the weights.
        crop: how it sees a picture. Places365's own evaluation keeps the size of its pictures; that belongs to the
            data set, not to the network.
        branch: which of the two branches it has.
        temperature: by which its logits are to be divided; 1 unless a package was calibrated.
        source: the file or the package.
        meta: what else the file says (`epoch`, `best_prec1`...).
    """

    module: nn.Module
    labels: tuple[str, ...] | None
    scene_classes: int
    spec: NetworkSpec
    title: str
    sha256: str
    crop: CropPreprocess
    branch: Branch
    source: Path
    temperature: float = 1.0
    meta: dict[str, Any] = field(default_factory=dict)


def load_scene_network(source: Path | str, *, expect: Branch | None = None) -> SceneNetworkFile:
    """Load a scene network.

    Args:
        source: a checkpoint (`.pth.tar`, safetensors), or a model package of the kind `scene`: its name or folder.
        expect: the branches that it must have; None takes any.

    Raises:
        ModelError: no such file or model, not a scene network, damaged, labels that do not fit its classes, or other
            branches than `expect`.
    """
    name, path = str(source), Path(source)
    if name in (*packaged_models(), *user_models()) or (path / "model.json").is_file():
        loaded = _from_package(find_package(name))
    elif path.exists() or path.suffix or len(path.parts) > 1:
        loaded = _from_checkpoint(path)
    else:
        known = ", ".join([*packaged_models(), *user_models()])
        raise ModelError(f"{name!r} is neither a checkpoint file nor a model; models known here: {known}")
    if expect is not None and loaded.branch != expect:
        raise ModelError(
            f"{loaded.source} is a {loaded.title} with {_BRANCHES[loaded.branch]}, but {_BRANCHES[expect]} was asked "
            f"for: ask for {loaded.branch!r} or give another checkpoint"
        )
    return loaded


def build_network(spec: NetworkSpec, state: Mapping[str, Tensor], name: str) -> nn.Module:
    """The plug-in `spec` with the weights `state`, float32, in eval mode.

    Raises:
        ModelError: the weights do not fit; `name` says whose they are.
    """
    with torch.device("meta"):  # random weights would be thrown away
        module: nn.Module = CLASSIFIERS.build(spec.kind, spec.params)
    full = {key: (value.float() if value.is_floating_point() else value).contiguous() for key, value in state.items()}
    try:
        module.load_state_dict(full, assign=True)
    except RuntimeError as error:
        raise ModelError(f"{name}: the weights do not fit the network {spec.kind} {dict(spec.params)}") from error
    return module.eval()


def labels_for(scene_classes: int, stated: Any = None, name: str = "the checkpoint") -> tuple[str, ...] | None:
    """Scene names: those that the file states, else those of the data set with so many classes, else None.

    Raises:
        ModelError: the stated ones are not one text a class, each once.
    """
    if stated is not None:
        return _checked_labels(stated, scene_classes, name)
    lists = (load_labels(data_set) for data_set in _DATA_SETS if data_set in label_lists())
    return next((labels.names for labels in lists if len(labels) == scene_classes), None)


def _checked_labels(stated: Any, scene_classes: int, name: str) -> tuple[str, ...]:
    if not isinstance(stated, list | tuple) or not all(isinstance(label, str) for label in stated):
        raise ModelError(f"{name}: its labels are no list of names")
    if len(stated) != scene_classes:
        raise ModelError(f"{name}: {len(stated)} labels for a network with {scene_classes} scene classes")
    if len(set(stated)) != len(stated):
        raise ModelError(f"{name}: its labels name a scene twice")
    return tuple(stated)


def _from_checkpoint(path: Path) -> SceneNetworkFile:
    checkpoint = read_checkpoint(path)
    found = identify(checkpoint.state, f"checkpoint {path}")
    if found.role != "scene" or found.scene_classes is None:
        raise ModelError(f"checkpoint {path} is the {found.title}, not a scene network")
    module = build_network(found.spec, found.state, f"checkpoint {path}")
    meta = dict(checkpoint.meta)
    labels = labels_for(found.scene_classes, meta.pop("labels", None), f"checkpoint {path}")
    return SceneNetworkFile(
        module=module,
        labels=labels,
        scene_classes=found.scene_classes,
        spec=found.spec,
        title=found.title,
        sha256=checkpoint.sha256,
        crop=CropPreprocess(),
        branch=_branch(module),
        source=path,
        meta=meta,
    )


def _from_package(package: ModelPackage) -> SceneNetworkFile:
    manifest = package.manifest
    if manifest.kind != "scene" or manifest.classifier is None:
        raise ModelError(
            f"model {manifest.name!r} is a {manifest.kind} model; a scene network of its own is needed, for example "
            "one from `scene-streamer models import`"
        )
    name = f"model {manifest.name!r}"
    checkpoint = read_checkpoint(package.path("weights"))
    found = identify(checkpoint.state, name)
    spec = manifest.classifier
    if found.spec.kind != spec.kind or found.scene_classes != len(package.labels):
        raise ModelError(
            f"{name}: its weights are a {found.title} for {found.scene_classes} scenes, which is not what model.json "
            f"says ({spec.kind} for {len(package.labels)}); import it again"
        )
    module = build_network(spec, found.state, name)
    return SceneNetworkFile(
        module=module,
        labels=package.labels,
        scene_classes=len(package.labels),
        spec=spec,
        title=found.title,
        sha256=package.weights_sha256,
        crop=package.crop,
        branch=_branch(module),
        source=package.folder,
        temperature=manifest.calibration.temperature,
    )


def _branch(module: nn.Module) -> Branch:
    if not module.uses_rgb:
        return "semantic"
    return "both" if module.uses_semantics else "rgb"
