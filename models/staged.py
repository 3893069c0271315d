"""`StagedRecognizer`: the reference's way, one stage after the other, each with its own networks.

    picture --> segmenter --> three best classes a pixel --> resized and cropped --> scene network --> prediction

The semantics of a frame are those that files of it would hold, made by the same functions: `PictureSegmenter.encode`,
which also writes files, and `CropPreprocess`, which also reads them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from config.schema import SemanticsSettings
from models.backends.base import Array
from models.backends.torch import TorchModule, computing_in
from models.crops import CropPreprocess
from models.encoding import LabelBase, SemanticMap, exact_top3
from models.engine import Engine
from models.layers.semantic_stem import Top3
from models.package import ModelPackage
from models.prediction import Prediction, View
from models.preprocess import checked_size, squash
from models.recognizer import Picture, Recognizer, Segmentation, softmax
from models.scene_parts import SceneParts
from models.segmentation import PictureSegmenter

if TYPE_CHECKING:
    from models.explain import Explanation

__all__ = ["CropInputs", "LiveNetwork", "StagedRecognizer", "crop_inputs", "top3_tensors"]

_FULL_SCORE = 255


@dataclass(frozen=True, slots=True)
class CropInputs:
    """What a scene network gets of one picture: its centre crop.

    Attributes:
        rgb: (1, 3, 224, 224) float32, normalised.
        labels, scores: (1, 3, 224, 224) uint8 and float32 in 0..1; None without semantics.
        view: the part of the picture that the crop shows.
    """

    rgb: Array
    labels: Array | None
    scores: Array | None
    view: View


class StagedRecognizer(Recognizer):
    """A scene network of the reference, and a segmenter if the network looks at semantics or one is wished for.

    Args:
        package: the scene network's folder.
        parts: the network.
        segmenter: None only for a network without semantics.
        semantics: how the segmentation is encoded.
        network: makes (logits, activation, gate) of `CropInputs`, compiled by a backend.
        engine: that backend's name.
    """

    def __init__(
        self,
        package: ModelPackage,
        parts: SceneParts,
        segmenter: PictureSegmenter | None,
        semantics: SemanticsSettings,
        network: LiveNetwork,
        engine: str,
    ) -> None:
        self.package = package
        self.parts = parts
        self.engine, self.device = engine, network.device
        self._segmenter = segmenter
        self._semantics = semantics
        self._network = network

    @property
    def segmenter(self) -> str | None:
        """See `Recognizer.segmenter`."""
        return None if self._segmenter is None else self._segmenter.name

    def predict_batch(self, pictures: Sequence[Picture]) -> list[Prediction]:
        """See `Recognizer.predict_batch`."""
        predictions = []
        for picture in pictures:
            shrunk = self.shrunk(picture)
            predictions.append(self.classify(shrunk, self.encode(shrunk)))
        return predictions

    def segment(self, picture: Picture) -> Segmentation:
        """See `Recognizer.segment`."""
        return self.encode(self.shrunk(picture))

    def predict_with(self, picture: Picture, segmentation: Segmentation) -> Prediction:
        """See `Recognizer.predict_with`. The scene network looks at this picture, where it looks at pictures."""
        return self.classify(self.shrunk(picture), segmentation)

    def shrunk(self, picture: Picture) -> Picture:
        """The picture as all further stages see it: with a short side of `working_side` pixels at most.

        Raises:
            ValueError: no H×W×3 uint8 array, or an empty one.
        """
        height, width = self.working_size(*checked_size(picture))
        return picture if picture.shape[:2] == (height, width) else squash(picture, width, height)

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) at which all stages see a picture of height×width."""
        wanted, side = self._semantics.working_side, min(height, width)
        if wanted is None or side <= wanted:
            return height, width
        return max(1, round(height * wanted / side)), max(1, round(width * wanted / side))

    @property
    def label_base(self) -> int:
        """How a label stands for an ADE20K id: value = id - 1 + base."""
        return self._semantics.label_base

    def encode(self, picture: Picture) -> SemanticMap | None:
        """The semantics of a picture at its own size; None without a segmenter.

        With `eight_bit` off the scores are float32 in 0..1 instead of uint8.
        """
        if self._segmenter is None:
            return None
        base = LabelBase(self.label_base)
        if self._semantics.eight_bit:
            return self._segmenter.encode(picture, base)
        return exact_top3(self._segmenter.probabilities(picture), self._segmenter.class_ids, base)

    def classify(self, picture: Picture, semantics: SemanticMap | None) -> Prediction:
        """The scene of a picture whose semantics, at its size, are known; None only without a segmenter."""
        inputs = crop_inputs(self.package.crop, picture, semantics if self.parts.uses_semantics else None)
        logits, activation, gate = self._network(inputs)
        best = None if semantics is None else self._best_class(semantics)
        return Prediction(
            probabilities=softmax(logits[0] / self.package.manifest.calibration.temperature),
            labels=self.labels,
            class_map=None if best is None else best[0],
            class_scores=None if best is None else best[1],
            gate=gate,
            activation=activation,
            view=inputs.view,
        )

    def lane(self) -> StagedRecognizer:
        """See `Recognizer.lane`."""
        segmenter = None if self._segmenter is None else self._segmenter.lane()
        return StagedRecognizer(
            self.package, self.parts, segmenter, self._semantics, self._network.lane(), self.engine
        )  # fmt: skip

    def explain(self, picture: Picture, scene: str | None = None) -> Explanation:
        """See `Recognizer.explain`."""
        from models.explain import explain_staged

        shrunk = self.shrunk(picture)
        inputs = crop_inputs(self.package.crop, shrunk, self.encode(shrunk) if self.parts.uses_semantics else None)
        return explain_staged(self.package, self.parts, inputs, self.label_base, scene)

    def _best_class(self, semantics: SemanticMap) -> tuple[Array, Array]:
        """ADE20K ids (H, W) uint8 of the best class and its probabilities (H, W) float32."""
        ids = semantics.labels[0] + np.uint8(1 - self.label_base)
        return ids, _as_probabilities(semantics.scores[0])


class LiveNetwork:
    """A scene network made ready by a backend: logits (1, C), activation (h, w) and gate (h', w') of a crop.

    A backend that traces modules into a graph of its own loses the look-up of the semantic stem; there it runs on
    torch, and the graph begins behind it. Measured on two cores with ResNet-18: all on torch 57 ms, all in OpenVINO
    with the dense tensor 66 to 80 ms, look-up on torch and the rest in OpenVINO 33 ms; on one thread 112 ms on torch
    and 68 ms this way, with ResNet-50 234 and 146 ms. Hence `--backend auto` takes openvino on a CPU here too.
    """

    def __init__(self, parts: SceneParts, engine: Engine) -> None:
        self._parts = parts.eval()
        self._splits = engine.traces and parts.uses_semantics
        tail = _Tail(parts, from_stem=self._splits)
        self._names = tail.names
        rgb = torch.zeros(1, 3, 224, 224)
        labels, scores = torch.zeros(1, 3, 224, 224, dtype=torch.uint8), torch.zeros(1, 3, 224, 224)
        semantics = (parts.stem(Top3(labels, scores)),) if self._splits else (labels, scores)
        examples = ((rgb,) if parts.uses_rgb else ()) + (semantics if parts.uses_semantics else ())
        self._run = engine.compile_module(tail, [e.detach() for e in examples])
        self.device = self._run.device

    def __call__(self, inputs: CropInputs) -> tuple[Array, Array | None, Array | None]:
        """See above."""
        arrays: list[Array] = [inputs.rgb] if self._parts.uses_rgb else []
        if self._parts.uses_semantics:
            arrays += self._semantic_inputs(inputs)
        found = dict(zip(self._names, self._run(*arrays), strict=True))
        maps = (found[name][0] if name in found else None for name in ("activation", "gate"))
        activation, gate = maps
        return found["logits"], activation, gate

    def on_device(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """A network on torch: its outputs by name, there, for what it looks at of crop, labels and scores, there.

        `logits` (B, C), and where the network has such, `activation` (B, h, w) and `gate` (B, h', w').
        """
        assert isinstance(self._run, TorchModule)
        return dict(zip(self._names, self._run.on_device(*inputs), strict=True))

    def computing(self) -> AbstractContextManager[None]:
        """A network on torch: what is inside of this computes in its precision too."""
        assert isinstance(self._run, TorchModule)
        return computing_in(self._run.precision, self.device)

    def lane(self) -> LiveNetwork:
        """Another one over the same weights, for a thread of its own."""
        lane = copy.copy(self)
        lane._run = self._run.lane()
        return lane

    def _semantic_inputs(self, inputs: CropInputs) -> list[Array]:
        assert inputs.labels is not None
        assert inputs.scores is not None
        if not self._splits:
            return [inputs.labels, inputs.scores]
        with torch.inference_mode():
            stem = self._parts.stem(top3_tensors(inputs))
        return [stem.contiguous().numpy()]


class _Tail(nn.Module):
    """What a backend runs of a scene network: all of it, or what comes behind the semantic stem."""

    def __init__(self, parts: SceneParts, from_stem: bool) -> None:
        super().__init__()
        self.parts = parts
        self.from_stem = from_stem
        has_gate = parts.uses_rgb and parts.uses_semantics
        has = {"logits": True, "activation": parts.head is not None, "gate": has_gate}
        self.names = tuple(name for name, there in has.items() if there)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs `names` for a crop and its labels and scores, or its stem; what is not looked at is left out."""
        parts, left = self.parts, list(inputs)
        rgb = parts.rgb(left.pop(0)) if parts.uses_rgb else None
        semantic = None
        if parts.uses_semantics:
            semantic = parts.semantic(left[0] if self.from_stem else parts.stem(Top3(left[0], left[1])))
        joined = parts.join(rgb, semantic)
        activation = parts.activation(joined, joined.logits.argmax(1))
        return tuple(found for found in (joined.logits, activation, joined.gate) if found is not None)


def crop_inputs(crop: CropPreprocess, picture: Picture, semantics: SemanticMap | None) -> CropInputs:
    """The centre crop of a picture, and of its semantics, which have its size.

    Raises:
        ValueError: with the crop's `short_side` None, the picture is smaller than the crop.
    """
    resized = crop.resized(picture)
    box = crop.boxes(resized)[0]
    view = crop.view(*resized.shape[:2])
    rgb = crop.tensor(resized, box)[None]
    if semantics is None:
        return CropInputs(rgb, None, None, view)
    cut = crop.map(crop.resized_map(semantics), box)
    return CropInputs(rgb, cut.labels[None], _as_probabilities(cut.scores)[None], view)


def top3_tensors(inputs: CropInputs, device: torch.device | str = "cpu") -> Top3:
    """The semantics of a crop for a network on torch, on a device."""
    assert inputs.labels is not None
    assert inputs.scores is not None
    return Top3(torch.from_numpy(inputs.labels).to(device), torch.from_numpy(inputs.scores).to(device))


def _as_probabilities(scores: Array) -> Array:
    if scores.dtype == np.uint8:
        return scores.astype(np.float32) / np.float32(_FULL_SCORE)
    return scores.astype(np.float32, copy=False)
