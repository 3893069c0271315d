"""The networks of a staged model one behind the other on one device: what goes in is frames, what comes out is small.

    frames --> segmenter --> three best classes a pixel --> centre crop --> scene network
       \\------------------------------------------------------^

What `models.staged` does a stage at a time on the host, with one difference: the classes are chosen at the size that
crops are taken from, not at the frame's own and then made smaller. 150 classes of a frame of 720p are 553 MB, of a map
of 256 rows a ninth of that; and it is the map's size that a prediction gets.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from config.schema import SemanticsSettings
from models.crops import CropPreprocess
from models.device_frames import normalised, resized
from models.encoding import LabelBase
from models.scene_parts import SceneParts
from models.staged import LiveNetwork
from models.torch_encoding import best_three, eight_bit, label_values
from models.torch_segmenters import TorchSegmenter

__all__ = ["ChainOutput", "DeviceChain", "DeviceMap"]

_FULL_SCORE = 255


class DeviceMap(NamedTuple):
    """The three best classes of every pixel of B frames, at the size that crops are taken from; on the device."""

    labels: Tensor  # (B, 3, h, w) uint8 label values
    scores: Tensor  # (B, 3, h, w) float32 in 0..1, NaN where the segmenter is broken


class ChainOutput(NamedTuple):
    """What the scene network says of B frames; on the device."""

    logits: Tensor  # (B, C) float32
    activation: Tensor | None  # (B, h, w) float32
    gate: Tensor | None  # (B, h', w') float32


class DeviceChain:
    """Segmenter and scene network on one torch device. Belongs to one thread at a time.

    Args:
        crop: how the scene network sees a picture.
        parts: the scene network.
        network: the same made ready by the backend `torch`.
        segmenter: on the same device, one that `takes_frames`; None only for a network without semantics.
        semantics: how the segmentation is encoded.
    """

    def __init__(
        self,
        crop: CropPreprocess,
        parts: SceneParts,
        network: LiveNetwork,
        segmenter: TorchSegmenter | None,
        semantics: SemanticsSettings,
    ) -> None:
        self.crop = crop
        self.parts = parts
        self._network = network
        self._segmenter = segmenter
        self._semantics = semantics
        if segmenter is not None:
            ids = segmenter.class_ids
            self._values = label_values(ids, LabelBase(semantics.label_base), network.device)
            channels = [channel for channel, class_id in enumerate(ids) if class_id > 0]
            self._channels = torch.tensor(channels, device=network.device)

    def at_working_side(self, frames: Tensor, size: tuple[int, int]) -> Tensor:
        """Frames (B, H, W, 3) uint8 at the size that all stages see them at."""
        if frames.shape[1:3] == size:
            return frames
        return resized(frames, size).to(torch.uint8).permute(0, 2, 3, 1)

    def segment(self, frames: Tensor) -> DeviceMap | None:
        """The semantics of frames (B, H, W, 3) uint8 on the device; None without a segmenter."""
        if self._segmenter is None:
            return None
        size = self.crop.size(frames.shape[1], frames.shape[2])
        with self._network.computing():
            maps = self._segmenter.frame_logits(frames)
        # One frame after the other: the classes of all of them at once would be large.
        found = [self._best_three([logits[i] for logits in maps], size) for i in range(len(frames))]
        labels, scores = zip(*found, strict=True)
        return DeviceMap(torch.stack(labels), torch.stack(scores))

    def classify(self, frames: Tensor | None, semantics: DeviceMap | None) -> ChainOutput:
        """The scenes of frames (B, H, W, 3) uint8 on the device, of which the semantics are known.

        Args:
            frames: None for a network that looks at semantics alone.
            semantics: of these frames, or of as many others of the same size.
        """
        inputs: list[Tensor] = []
        if self.parts.uses_rgb:
            assert frames is not None
            small = resized(frames, self.crop.size(frames.shape[1], frames.shape[2]))
            inputs.append(normalised(self._cut(small), self.crop.mean, self.crop.std))
        if self.parts.uses_semantics:
            assert semantics is not None
            inputs += [self._cut(semantics.labels), self._cut(semantics.scores)]
        found = self._network.on_device(inputs)
        return ChainOutput(found["logits"], found.get("activation"), found.get("gate"))

    def lane(self) -> DeviceChain:
        """Another one over the same weights, for a thread of its own."""
        segmenter = None if self._segmenter is None else self._segmenter.lane()
        return DeviceChain(self.crop, self.parts, self._network.lane(), segmenter, self._semantics)

    def _best_three(self, maps: list[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Labels and scores (3, h, w) at a size of logits (K, ., .), the mean over their scales."""
        total = self._probabilities(maps[0], size)
        for logits in maps[1:]:
            total += self._probabilities(logits, size)
        labels, scores = best_three(total / len(maps) if len(maps) > 1 else total, self._values)
        if self._semantics.eight_bit:  # as files have them; through bytes a NaN would be lost
            scores = torch.where(scores.isnan(), scores, eight_bit(scores).float() / _FULL_SCORE)
        return labels, scores

    def _probabilities(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """(K', h, w) at a size of logits (K, ., .), of the classes that have a label."""
        p = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0].softmax(0)
        return p if len(self._channels) == len(p) else p.index_select(0, self._channels)

    def _cut(self, planes: Tensor) -> Tensor:
        """The centre crop of planes (B, ., h, w)."""
        top, left, _ = self.crop.centre(planes.shape[2], planes.shape[3])
        return planes[:, :, top : top + self.crop.side, left : left + self.crop.side].contiguous()
