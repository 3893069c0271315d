"""`Recognizer`: from a picture to a calibrated prediction. `load_recognizer` makes the one that a model needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from config.errors import UnknownPluginError
from config.plugins import Registry
from config.schema import Precision, SemanticsSettings
from models.auto_backend import Choice, choose
from models.backends.base import Backend, Side
from models.engine import Engine
from models.errors import ModelError
from models.package import ModelPackage, UnknownCalibration, find_package
from models.prediction import FloatArray, Prediction, entropy

if TYPE_CHECKING:
    from models.explain import Explanation

__all__ = ["JointRecognizer", "Recognizer", "Segmentation", "load_recognizer", "p_unknown", "softmax"]

Picture = NDArray[np.uint8]

Segmentation = Any
"""What a recognizer's `segment` made, for its `predict_with` and those of its lanes."""

_NVIDIA_DEVICE = Path("/dev/nvidia0")


class Recognizer(ABC):
    """Names the scenes of pictures. Belongs to one thread at a time; for more threads there are lanes.

    Attributes:
        package: the model's folder: labels, preprocessing, calibration, identity.
        engine: the library that runs its networks, as `--backend` names it.
        device: what they run on.
        resizes_on: where frames are resized for the networks: on the `host`, or on the `device`; then a frame goes up
            once, as it is, and only what is in a `Prediction` comes back.
    """

    package: ModelPackage
    engine: str
    device: str
    resizes_on: Side = "host"

    @property
    @abstractmethod
    def segmenter(self) -> str | None:
        """What segments the pictures; None where nothing does."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Scene names, in the order of the probabilities."""
        return self.package.labels

    def predict(self, picture: Picture) -> Prediction:
        """The scene of one picture (H×W×3 uint8 RGB, any size).

        Raises:
            ValueError: it is no such array.
        """
        return self.predict_batch([picture])[0]

    @abstractmethod
    def predict_batch(self, pictures: Sequence[Picture]) -> list[Prediction]:
        """The scenes of several pictures, whatever their sizes."""

    @abstractmethod
    def lane(self) -> Recognizer:
        """Another recognizer over the same loaded networks, for a thread of its own; both may work at the same time."""

    @abstractmethod
    def segment(self, picture: Picture) -> Segmentation:
        """The part of the work that may serve later pictures too, as long as they hardly differ."""

    def segment_batch(self, pictures: Sequence[Picture]) -> list[Segmentation]:
        """`segment` of several pictures."""
        return [self.segment(picture) for picture in pictures]

    @abstractmethod
    def predict_with(self, picture: Picture, segmentation: Segmentation) -> Prediction:
        """The scene of a picture with the segmentation of this one, or of an earlier one of the same size."""

    @abstractmethod
    def explain(self, picture: Picture, scene: str | None = None) -> Explanation:
        """What speaks for a scene in a picture; see `models.explain`. It runs on torch, whatever runs the predictions.

        Args:
            picture: H×W×3 uint8 RGB.
            scene: one of `labels`; default: the most probable one.

        Raises:
            UnknownLabelError: there is no such scene.
            ValueError: the picture is no such array.
        """


class JointRecognizer(Recognizer):
    """A joint model, which segments and classifies in one network."""

    def __init__(self, package: ModelPackage, backend: Backend) -> None:
        self.package = package
        self.backend = backend
        self.engine, self.device, self.resizes_on = backend.name, backend.device, backend.resizes_on

    @property
    def segmenter(self) -> str | None:
        """See `Recognizer.segmenter`."""
        spec = self.package.manifest.segmenter
        return None if spec is None else spec.kind

    def predict_batch(self, pictures: Sequence[Picture]) -> list[Prediction]:
        """See `Recognizer.predict_batch`."""
        manifest = self.package.manifest
        output = self.backend.infer_frames(pictures, self.package.preprocess)
        probabilities = softmax(output.logits / manifest.calibration.temperature)
        weights = manifest.calibration.unknown
        strange = (
            None if weights is None or output.unknown is None else p_unknown(weights, probabilities, output.unknown)
        )
        return [
            Prediction(
                probabilities=probabilities[i],
                labels=self.labels,
                class_map=output.class_map[i],
                class_scores=output.class_scores[i],
                gate=output.gate[i],
                activation=None if output.activation is None else output.activation[i],
                p_unknown=None if strange is None else float(strange[i]),
            )
            for i in range(len(pictures))
        ]

    def lane(self) -> JointRecognizer:
        """See `Recognizer.lane`."""
        return JointRecognizer(self.package, self.backend.lane())

    def segment(self, picture: Picture) -> Segmentation:
        """See `Recognizer.segment`. One pass segments and names: the whole answer is what can be reused."""
        return self.predict(picture)

    def segment_batch(self, pictures: Sequence[Picture]) -> list[Segmentation]:
        """See `Recognizer.segment_batch`."""
        return self.predict_batch(pictures)

    def predict_with(self, picture: Picture, segmentation: Segmentation) -> Prediction:  # noqa: ARG002
        """See `Recognizer.predict_with`."""
        prediction: Prediction = segmentation
        return prediction

    def explain(self, picture: Picture, scene: str | None = None) -> Explanation:
        """See `Recognizer.explain`."""
        from models.explain import explain_joint

        return explain_joint(self.package, picture, scene)


def load_recognizer(
    name: str = "scene18",
    *,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    segmenter: str | None = None,
    semantics: SemanticsSettings = SemanticsSettings(),  # noqa: B008 - immutable
    precision: Precision = "auto",
    lanes: int = 1,
) -> Recognizer:
    """Load a model and make it ready to run.

    Args:
        name: a packaged model ("scene18"), a pulled or imported one, or the folder of one.
        backend: `onnxruntime`, `openvino`, `torch`, or `auto`: torch where there is a CUDA device to use, else the
            one that a short measurement finds quickest here (see `models.auto_backend`).
        device: `auto`, `cpu`, `cuda`, `cuda:N`, or a device of OpenVINO.
        threads: CPU threads of the networks, of all lanes together; None leaves it to the backend.
        segmenter: who segments the pictures for a scene network of the reference: a model with a segmenter. A joint
            model has its own.
        semantics: how what the segmenter says is encoded for a scene network.
        precision: in which the networks compute: `f32`, `bf16`, `f16`; `auto` takes what says the same as `f32`;
            `int8` is for a scene network whose segmenter was exported so, and is the segmenter's alone.
        lanes: how many recognizers will run side by side, this one and its lanes (see `Recognizer.lane`), so that they
            share out the threads.

    Raises:
        ModelError: no such model, or it is damaged, or lacks a segmenter, or the device does not exist or has no such
            precision.
        UnknownPluginError: no such backend or segmenter.
    """
    package = find_package(name)
    if package.manifest.kind == "segmenter":
        raise ModelError(
            f"model {name!r} is a segmenter and names no scenes; give a scene network as model.name and this one as "
            "model.segmenter"
        )
    if package.manifest.kind == "scene":
        from models.staged_loading import load_staged

        if backend == "auto":
            backend = "torch" if _on_cuda(device) else "openvino"
        return load_staged(name, segmenter, semantics, Engine(backend, device, threads, precision, lanes))
    _check_joint(package, segmenter, semantics, precision)
    if backend == "auto":
        choice = _choose(package, device, threads, precision, lanes)
        backend, threads, precision = choice.engine, choice.threads, choice.precision
        if device == "auto" and backend != "torch":
            device = "cpu"  # that is where it was measured
    return JointRecognizer(package, Engine(backend, device, threads, precision, lanes).build(package))


def _choose(package: ModelPackage, device: str, threads: int | None, precision: Precision, lanes: int) -> Choice:
    if _on_cuda(device):
        return Choice(engine="torch", precision=precision, threads=threads)
    return choose(package, device=device, threads=threads, precision=precision, lanes=lanes)


def _on_cuda(device: str) -> bool:
    """Whether `device` means a CUDA device. torch, slow to import, is asked only where an NVIDIA driver is."""
    if device == "auto" and _NVIDIA_DEVICE.exists():
        import torch

        return torch.cuda.is_available()
    return device.startswith("cuda")


def p_unknown(
    calibration: UnknownCalibration, probabilities: NDArray[np.floating[Any]], logits: FloatArray
) -> FloatArray:
    """Probability (B,) that pictures show none of the scenes.

    Args:
        calibration: of the model.
        probabilities: (B, C) of the scenes, calibrated.
        logits: (B,) the network's logit of `unknown`.
    """
    odds = calibration.logit * logits + calibration.entropy * entropy(probabilities) + calibration.bias
    probability: FloatArray = (1 / (1 + np.exp(-odds))).astype(np.float32)
    return probability


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis, in float64, given back as float32."""
    exponent = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    normal: FloatArray = (exponent / exponent.sum(axis=-1, keepdims=True)).astype(np.float32)
    return normal


def _check_joint(
    package: ModelPackage, segmenter: str | None, semantics: SemanticsSettings, precision: Precision
) -> None:
    """Refuse settings that mean nothing to a joint model."""
    name, own = package.manifest.name, package.manifest.segmenter and package.manifest.segmenter.kind
    if segmenter not in (None, own, name):
        _check_exists(segmenter)
        raise ModelError(f"model {name!r} shares an encoder with its segmenter {own!r} and cannot take {segmenter!r}")
    if semantics != SemanticsSettings():
        raise ModelError(
            f"model {name!r} takes what its own segmenter says as it is; model.semantics is for scene networks that "
            "take another model's semantics"
        )
    if precision == "int8":
        raise ModelError(
            f"model {name!r} is not run in 8 bits; --precision int8 is for scene networks with a segmenter that "
            "`scene-streamer export --int8` wrote; use --precision f32"
        )


def _check_exists(segmenter: str) -> None:
    """Raise UnknownPluginError unless there is such a segmenter: a plug-in, or a model that has one."""
    try:
        Registry("segmenter", "models.segmenters").check(segmenter.partition(":")[0])
    except UnknownPluginError:
        try:
            find_package(segmenter)
        except ModelError:
            pass
        else:
            return
        raise
