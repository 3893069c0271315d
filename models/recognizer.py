"""`Recognizer`: picture → tensor → networks → calibrated prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from config.plugins import Registry
from models.backends import BACKENDS
from models.backends.base import Backend
from models.errors import ModelError
from models.package import ModelPackage, find_package
from models.prediction import FloatArray, Prediction

Picture = NDArray[np.uint8]

_NVIDIA_DEVICE = Path("/dev/nvidia0")


class Recognizer:
    """Names the scenes of pictures. Belongs to one thread at a time.

    Attributes:
        package: the model's folder: labels, preprocessing, calibration, identity.
        backend: what runs its networks.
    """

    def __init__(self, package: ModelPackage, backend: Backend) -> None:
        self.package = package
        self.backend = backend

    @property
    def segmenter(self) -> str | None:
        """What segments the pictures; None where nothing does."""
        spec = self.package.manifest.segmenter
        return None if spec is None else spec.kind

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

    def predict_batch(self, pictures: Sequence[Picture]) -> list[Prediction]:
        """The scenes of several pictures, whatever their sizes."""
        manifest = self.package.manifest
        output = self.backend.infer(np.stack([self.package.preprocess(picture) for picture in pictures]))
        probabilities = softmax(output.logits / manifest.calibration.temperature)
        return [
            Prediction(
                probabilities=probabilities[i],
                labels=self.labels,
                class_map=output.class_map[i],
                class_scores=output.class_scores[i],
                gate=output.gate[i],
            )
            for i in range(len(pictures))
        ]


def load_recognizer(
    name: str = "scene18",
    *,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    segmenter: str | None = None,
) -> Recognizer:
    """Load a model and make it ready to run.

    Args:
        name: a packaged model ("scene18"), or the folder of one.
        backend: `openvino`, `torch`, or `auto`: torch where there is a CUDA device to use, else openvino.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, or a device of OpenVINO.
        threads: CPU threads of the networks; None leaves it to the backend.
        segmenter: a segmenter to use instead of the model's own.

    Raises:
        ModelError: no such model, or it is damaged, or the device does not exist.
        UnknownPluginError: no such backend or segmenter.
    """
    package = find_package(name)
    _check_segmenter(package, segmenter)
    if backend == "auto":
        backend = "torch" if _on_cuda(device) else "openvino"
    return Recognizer(package, BACKENDS.build(backend, {"device": device, "threads": threads}, package=package))


def _on_cuda(device: str) -> bool:
    """Whether `device` means a CUDA device. torch, slow to import, is asked only where an NVIDIA driver is."""
    if device == "auto" and _NVIDIA_DEVICE.exists():
        import torch

        return torch.cuda.is_available()
    return device.startswith("cuda")


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis, in float64, given back as float32."""
    exponent = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    normal: FloatArray = (exponent / exponent.sum(axis=-1, keepdims=True)).astype(np.float32)
    return normal


def _check_segmenter(package: ModelPackage, wanted: str | None) -> None:
    own = package.manifest.segmenter and package.manifest.segmenter.kind
    if wanted is None or wanted == own:
        return
    Registry("segmenter", "models.segmenters").check(wanted)
    raise ModelError(
        f"model {package.manifest.name!r} shares an encoder with its segmenter {own!r} and cannot take {wanted!r}"
    )
