"""`StagedOnDevice`: a staged model whose frames go up once; see `models.device_chain` for what happens there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from models.backends.base import Array
from models.device_chain import ChainOutput, DeviceChain, DeviceMap
from models.device_frames import DeviceLane, as_picture, by_size
from models.prediction import FloatArray, Prediction
from models.recognizer import Picture, Recognizer, Segmentation, softmax
from models.staged import StagedRecognizer
from models.torch_encoding import NAN_FOUND

if TYPE_CHECKING:
    from models.explain import Explanation

__all__ = ["DeviceSegmentation", "StagedOnDevice"]


@dataclass(frozen=True, slots=True)
class DeviceSegmentation:
    """The segmentation of one frame: whole on the device, its best class here.

    Attributes:
        on_device: of one frame, B = 1.
        class_map: (h, w) uint8 ADE20K ids.
        class_scores: (h, w) float32.
    """

    on_device: DeviceMap
    class_map: Array
    class_scores: FloatArray


class StagedOnDevice(Recognizer):
    """A `StagedRecognizer` whose stages all run on one device, and in batches.

    Args:
        staged: the same model, a stage at a time; it explains, and says which frames are made smaller first.
        chain: its networks.
    """

    resizes_on = "device"

    def __init__(self, staged: StagedRecognizer, chain: DeviceChain) -> None:
        self.package = staged.package
        self.engine, self.device = staged.engine, staged.device
        self._staged = staged
        self._chain = chain
        self._lane = DeviceLane(self.device)

    @property
    def segmenter(self) -> str | None:
        """See `Recognizer.segmenter`."""
        return self._staged.segmenter

    @torch.inference_mode()
    def predict_batch(self, pictures: Sequence[Picture]) -> list[Prediction]:
        """See `Recognizer.predict_batch`. Pictures of one size go through the networks together."""
        checked = [as_picture(picture) for picture in pictures]
        predictions: dict[int, Prediction] = {}
        with self._lane.stream():
            for numbers in by_size(checked):
                frames = self._frames([checked[number] for number in numbers])
                semantics = self._chain.segment(frames)
                output = self._chain.classify(frames, semantics)
                here = [None] * len(numbers) if semantics is None else self._here(semantics)
                size = frames.shape[1], frames.shape[2]
                predictions |= zip(numbers, self._predictions(output, here, size), strict=True)
        return [predictions[number] for number in range(len(pictures))]

    def segment(self, picture: Picture) -> Segmentation:
        """See `Recognizer.segment`."""
        return self.segment_batch([picture])[0]

    @torch.inference_mode()
    def segment_batch(self, pictures: Sequence[Picture]) -> list[Segmentation]:
        """See `Recognizer.segment_batch`. What is found stays on the device for later frames."""
        checked = [as_picture(picture) for picture in pictures]
        found: dict[int, Segmentation] = {}
        with self._lane.stream():
            for numbers in by_size(checked):
                semantics = self._chain.segment(self._frames([checked[number] for number in numbers]))
                here = [None] * len(numbers) if semantics is None else self._here(semantics)
                found |= zip(numbers, here, strict=True)
        return [found[number] for number in range(len(pictures))]

    @torch.inference_mode()
    def predict_with(self, picture: Picture, segmentation: Segmentation) -> Prediction:
        """See `Recognizer.predict_with`. The scene network looks at this picture, where it looks at pictures."""
        known: DeviceSegmentation | None = segmentation
        checked = as_picture(picture)
        with self._lane.stream():
            frames = self._frames([checked]) if self._chain.parts.uses_rgb else None
            output = self._chain.classify(frames, None if known is None else known.on_device)
            size = self._staged.working_size(checked.shape[0], checked.shape[1])
            return self._predictions(output, [known], size)[0]

    def explain(self, picture: Picture, scene: str | None = None) -> Explanation:
        """See `Recognizer.explain`."""
        return self._staged.explain(picture, scene)

    def lane(self) -> StagedOnDevice:
        """See `Recognizer.lane`."""
        return StagedOnDevice(self._staged.lane(), self._chain.lane())

    def _frames(self, pictures: Sequence[Picture]) -> Tensor:
        """(B, H, W, 3) uint8 on the device, as all stages see them."""
        frames = self._lane.upload(pictures)
        return self._chain.at_working_side(frames, self._staged.working_size(frames.shape[1], frames.shape[2]))

    def _here(self, semantics: DeviceMap) -> list[DeviceSegmentation]:
        """Each frame's segmentation with its best class fetched, for which the stream is waited for."""
        ids = semantics.labels[:, 0] + (1 - self._staged.label_base)
        class_maps, class_scores = ids.cpu().numpy(), semantics.scores[:, 0].cpu().numpy()
        if np.isnan(class_scores).any():
            raise ValueError(NAN_FOUND)
        return [
            DeviceSegmentation(DeviceMap(*(part[i : i + 1] for part in semantics)), class_maps[i], class_scores[i])
            for i in range(len(class_maps))
        ]

    def _predictions(
        self, output: ChainOutput, segmentations: Sequence[DeviceSegmentation | None], size: tuple[int, int]
    ) -> list[Prediction]:
        """One for each frame; `size` is (H, W) of the frames as the stages see them."""
        logits: FloatArray = output.logits.cpu().numpy()
        probabilities = softmax(logits / np.float32(self.package.manifest.calibration.temperature))
        maps = [None if found is None else found.cpu().numpy() for found in (output.activation, output.gate)]
        activation, gate = maps
        crop = self._chain.crop
        return [
            Prediction(
                probabilities=probabilities[i],
                labels=self.labels,
                class_map=None if known is None else known.class_map,
                class_scores=None if known is None else known.class_scores,
                gate=None if gate is None else gate[i],
                activation=None if activation is None else activation[i],
                view=crop.view(*crop.size(*size)),
            )
            for i, known in enumerate(segmentations)
        ]
