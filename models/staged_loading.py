"""`load_staged`: a scene network and its segmenter by name, and how they run: a stage at a time, or on one device."""

from __future__ import annotations

import logging
from dataclasses import replace

import torch

from config.schema import SemanticsSettings
from models.compiled_segmenter import compile_segmenter, int8_graph
from models.device_chain import DeviceChain
from models.engine import Engine
from models.errors import ModelError
from models.package import ModelPackage, find_package
from models.recognizer import Recognizer
from models.scene_classifier import load_scene_network
from models.scene_parts import SceneParts, scene_parts
from models.segmentation import PictureSegmenter, load_segmenter
from models.staged import LiveNetwork, StagedRecognizer
from models.staged_on_device import StagedOnDevice
from models.torch_segmenters import TorchSegmenter

__all__ = ["host_bound", "load_staged", "on_one_device"]

_log = logging.getLogger(__name__)


def load_staged(name: str, segmenter: str | None, semantics: SemanticsSettings, engine: Engine) -> Recognizer:
    """Load a scene network, and its segmenter, ready to run; see `models.recognizer.load_recognizer`.

    On a CUDA device torch keeps frames there from their upload to the scene, unless the segmenter cannot; the log says
    why. `Recognizer.resizes_on` tells which it is. `int8` is the segmenter's precision, where nearly all of the time
    goes; the scene network then stays in float32.
    """
    if engine.precision == "int8":
        _say_int8(segmenter, engine)
    package, loaded = find_package(name), load_scene_network(name)
    parts = scene_parts(loaded.module)
    _check_semantics(package, parts, segmenter, semantics)
    network = LiveNetwork(parts, replace(engine, precision="f32") if engine.precision == "int8" else engine)
    found = None
    if segmenter is not None:
        found = load_segmenter(
            segmenter, device=_torch_device(engine), threads=engine.threads, short_sides=semantics.short_sides
        )
        if engine.name != "torch":
            compile_segmenter(found, engine)
    staged = StagedRecognizer(package, parts, found, semantics, network, engine.name)
    if not runs_on_cuda(engine.name, network.device):
        return staged
    if fault := host_bound(found):
        _log.warning("model %s: frames go to %s and back once for each stage: %s", name, network.device, fault)
        return staged
    return on_one_device(staged, network, found, semantics)


def runs_on_cuda(engine: str, device: str) -> bool:
    """Whether a backend leaves frames on a CUDA device between stages, if it may."""
    return engine == "torch" and device.startswith("cuda")


def host_bound(segmenter: PictureSegmenter | None) -> str | None:
    """Why frames must come back to the host for a segmenter, in words; None if they need not."""
    if segmenter is None:
        return None
    if not isinstance(segmenter, TorchSegmenter) or not segmenter.takes_frames:
        return f"segmenter {segmenter.name} scales pictures on the host"
    if not segmenter.has_three_classes:
        return f"segmenter {segmenter.name} has fewer than three classes"
    return None


def on_one_device(
    staged: StagedRecognizer, network: LiveNetwork, segmenter: PictureSegmenter | None, semantics: SemanticsSettings
) -> StagedOnDevice:
    """The same model with all stages on the device of its networks, which torch runs.

    Args:
        staged: made of the others.
        network: the scene network.
        segmenter: one that is not `host_bound`.
        semantics: how it is encoded.
    """
    assert segmenter is None or isinstance(segmenter, TorchSegmenter)
    staged.parts.to(memory_format=torch.channels_last)
    if segmenter is not None:
        segmenter.to_channels_last()
    return StagedOnDevice(staged, DeviceChain(staged.package.crop, staged.parts, network, segmenter, semantics))


def _check_semantics(
    package: ModelPackage, parts: SceneParts, segmenter: str | None, semantics: SemanticsSettings
) -> None:
    name = package.manifest.name
    if segmenter is None and parts.uses_semantics:
        raise ModelError(
            f"model {name!r} looks at semantics and has no segmenter of its own; say which one makes them: "
            "--set model.segmenter=upernet_r50 (the paper's, once pulled or imported) or scene18 (packaged)"
        )
    if segmenter is None and semantics != SemanticsSettings():
        raise ModelError(f"model {name!r} looks at no semantics; leave model.semantics out, or give model.segmenter")


def _say_int8(segmenter: str | None, engine: Engine) -> None:
    """Say how near to float32 a segmenter in 8 bits is. Raises ModelError, before anything is loaded, without one."""
    int8_graph(segmenter, engine)
    assert segmenter is not None
    agreement = find_package(segmenter).manifest.int8
    _log.info("segmenter %s in 8 bits; compared %s", segmenter, agreement or "on no pictures")


def _torch_device(engine: Engine) -> str:
    """Where torch runs the parts that stay with it."""
    return engine.device if engine.name == "torch" else "cpu"
