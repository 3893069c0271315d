"""Picture segmenters on torch: from a network to probabilities of any size."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from models.encoding import LabelBase, SemanticMap, top3
from models.errors import ModelError
from models.prediction import FloatArray
from models.preprocess import Preprocess
from models.score_maps import ClassLogits, ScoreMap, probability_strips
from models.segmentation import Picture, PictureSegmenter
from models.torch_encoding import top3_on_device

_KEPT = 3  # classes a pixel, of those that there are


class PictureNetwork(Protocol):
    """A segmenter plug-in's network that scales pictures itself."""

    class_ids: tuple[int, ...]

    def score_maps(self, picture: Picture, short_sides: Sequence[int] | None = None) -> Sequence[ScoreMap]:
        """What it says of a picture (H×W×3 uint8 RGB), once for each scale; None is its own choice of scales.

        Raises:
            ModelError: it cannot see a picture at that size.
        """

    def eval(self) -> Any:
        """See `torch.nn.Module.eval`."""

    def to(self, device: str) -> Any:
        """See `torch.nn.Module.to`."""


class TorchSegmenter(PictureSegmenter):
    """A segmenter on torch. Maps are enlarged a strip of rows at a time, so that `encode` needs little memory."""

    _network: Any

    def __init__(self, name: str, sha256: str | None, class_ids: tuple[int, ...], device: str) -> None:
        self.name, self.sha256, self.class_ids, self.device = name, sha256, class_ids, device

    def exchange_network(self, change: Callable[[nn.Module], nn.Module]) -> None:
        """Exchange the network for one that says the same: for one that another library runs."""
        self._network = change(self._network)

    def lane(self) -> TorchSegmenter:
        """See `PictureSegmenter.lane`; networks on torch are shared, those that another library runs get lanes."""
        lane = copy.copy(self)
        lane._network = _lane_of(self._network)
        return lane

    @abstractmethod
    def score_maps(self, picture: Picture) -> Sequence[ScoreMap]:
        """What the network says of a picture, once for each scale."""

    def probabilities(self, picture: Picture, size: tuple[int, int] | None = None) -> FloatArray:
        """See `PictureSegmenter.probabilities`.

        Raises:
            ValueError: no picture (H×W×3 uint8), or a size that is none.
        """
        height, width = picture_size(picture) if size is None else size
        if height < 1 or width < 1:
            raise ValueError(f"a map has at least one row and one column, not {height}x{width}")
        whole = np.empty((len(self.class_ids), height, width), np.float32)
        row = 0
        for strip in self._strips(picture, (height, width)):
            whole[:, row : row + strip.shape[1]] = strip.cpu().numpy()
            row += strip.shape[1]
        return whole

    def encode(self, picture: Picture, base: LabelBase = LabelBase.ZERO) -> SemanticMap:
        """See `PictureSegmenter.encode`; the probabilities of the whole picture are never in memory at once."""
        parts = [self._encoded(strip, base) for strip in self._strips(picture, picture_size(picture))]
        labels, scores = zip(*parts, strict=True)
        return SemanticMap(np.concatenate(labels, 1), np.concatenate(scores, 1))

    def _encoded(self, strip: Tensor, base: LabelBase) -> SemanticMap:
        if sum(class_id > 0 for class_id in self.class_ids) < _KEPT:
            return top3(strip.cpu().numpy(), self.class_ids, base)
        return top3_on_device(strip, self.class_ids, base)

    def _strips(self, picture: Picture, size: tuple[int, int]) -> Iterator[Tensor]:
        picture_size(picture)
        with torch.inference_mode():
            yield from probability_strips(self.score_maps(picture), size)


class SquashedSegmenter(TorchSegmenter):
    """The segmenter of a joint model: the whole picture squashed to one size, as its classifier sees it."""

    def __init__(self, network: nn.Module, preprocess: Preprocess, *, name: str, sha256: str, device: str) -> None:
        class_ids: tuple[int, ...] = network.class_ids  # type: ignore[assignment]
        super().__init__(name, sha256, class_ids, device)
        self._network = network.eval().to(device)
        self._preprocess = preprocess

    def score_maps(self, picture: Picture) -> Sequence[ScoreMap]:
        """See `TorchSegmenter.score_maps`."""
        tensor = torch.from_numpy(self._preprocess(picture))[None].to(self.device)
        return [ClassLogits(self._network(tensor).logits[0].float())]


class ScaledSegmenter(TorchSegmenter):
    """A network that scales pictures itself; over several scales, probabilities are averaged.

    Raises:
        ModelError: a scale that is none.
    """

    def __init__(
        self,
        network: PictureNetwork,
        *,
        name: str,
        sha256: str | None,
        device: str,
        short_sides: Sequence[int] | None = None,
    ) -> None:
        super().__init__(name, sha256, network.class_ids, device)
        if short_sides is not None and (not short_sides or min(short_sides) < 1):
            raise ModelError(f"short sides are one or more sizes in pixels, not {list(short_sides)}")
        self._network = network.eval().to(device)
        self._short_sides = short_sides

    def score_maps(self, picture: Picture) -> Sequence[ScoreMap]:
        """See `TorchSegmenter.score_maps`."""
        maps: Sequence[ScoreMap] = self._network.score_maps(picture, self._short_sides)
        return maps


def picture_size(picture: Picture) -> tuple[int, int]:
    """(H, W) of a picture.

    Raises:
        ValueError: it is no H×W×3 uint8 array, or is empty.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(f"a picture is HxWx3 uint8 RGB and not empty, not {picture.dtype} {picture.shape}")
    return picture.shape[0], picture.shape[1]


def _lane_of(module: nn.Module) -> nn.Module:
    """`module`, or a shallow copy of it in which each module with lanes of its own is replaced by one of them."""
    if hasattr(module, "lane"):
        lane: nn.Module = module.lane()  # type: ignore[operator]
        return lane
    children = {name: _lane_of(child) for name, child in module.named_children()}
    if all(child is getattr(module, name) for name, child in children.items()):
        return module
    twin = copy.copy(module)
    twin._modules = {**module._modules, **children}
    return twin
