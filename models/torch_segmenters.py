"""Picture segmenters on torch: from a network to probabilities of any size."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from models.device_frames import normalised, squashed
from models.encoding import LabelBase, SemanticMap, top3
from models.errors import ModelError
from models.prediction import FloatArray
from models.preprocess import Preprocess, checked_size
from models.score_maps import ClassLogits, ScoreMap, probability_strips
from models.segmentation import Picture, PictureSegmenter
from models.torch_encoding import top3_on_device

_KEPT = 3  # classes a pixel, of those that there are


class LogitsTop3(Protocol):
    """Finds the three best classes of every pixel; belongs to one thread at a time."""

    def __call__(self, logits: Tensor, size: tuple[int, int], base: LabelBase) -> SemanticMap:
        """The map at a size (H, W) of logits (K, h, w)."""

    def lane(self) -> LogitsTop3:
        """Another one, for a thread of its own."""


class PictureNetwork(Protocol):
    """A segmenter plug-in's network that scales pictures itself."""

    class_ids: tuple[int, ...]

    def score_maps(self, picture: Picture, short_sides: Sequence[int] | None = None) -> Sequence[ScoreMap]:
        """What it says of a picture (H×W×3 uint8 RGB), once for each scale; None is its own choice of scales.

        Raises:
            ModelError: it cannot see a picture at that size.
        """

    # One that can do without the host has also `frame_logits(frames, short_sides)`: class logits (B, K, h, w) float32,
    # for each scale, of frames (B, H, W, 3) uint8 that are on its device.

    def eval(self) -> Any:
        """See `torch.nn.Module.eval`."""

    def to(self, device: str) -> Any:
        """See `torch.nn.Module.to`."""


class TorchSegmenter(PictureSegmenter):
    """A segmenter on torch. Maps are enlarged a strip of rows at a time, so that `encode` needs little memory."""

    _network: Any

    def __init__(self, name: str, sha256: str | None, class_ids: tuple[int, ...], device: str) -> None:
        self.name, self.sha256, self.class_ids, self.device = name, sha256, class_ids, device
        self._top3: LogitsTop3 | None = None

    def exchange_network(self, change: Callable[[nn.Module], nn.Module]) -> None:
        """Exchange the network for one that says the same: for one that another library runs."""
        self._network = change(self._network)

    def lane(self) -> TorchSegmenter:
        """See `PictureSegmenter.lane`; networks on torch are shared, those that another library runs get lanes."""
        lane = copy.copy(self)
        lane._network = _lane_of(self._network)
        lane._top3 = None if self._top3 is None else self._top3.lane()
        return lane

    def exchange_top3(self, top3: LogitsTop3) -> None:
        """Let another library encode what the network says, where that is class logits of one scale."""
        self._top3 = top3

    @property
    def has_three_classes(self) -> bool:
        """Whether there are three to choose from; a label cannot say "none"."""
        return sum(class_id > 0 for class_id in self.class_ids) >= _KEPT

    @abstractmethod
    def score_maps(self, picture: Picture) -> Sequence[ScoreMap]:
        """What the network says of a picture, once for each scale."""

    @property
    def takes_frames(self) -> bool:
        """Whether there is `frame_logits`: a network that the host has no part in."""
        return False

    def frame_logits(self, frames: Tensor) -> list[Tensor]:
        """Class logits (B, K, h, w) float32, for each scale, of frames (B, H, W, 3) uint8 that are on its device."""
        raise NotImplementedError(f"{self.name} scales pictures on the host")

    def to_channels_last(self) -> None:
        """Lay the network's weights out as tensor cores read them."""
        self.exchange_network(lambda network: network.to(memory_format=torch.channels_last))

    def probabilities(self, picture: Picture, size: tuple[int, int] | None = None) -> FloatArray:
        """See `PictureSegmenter.probabilities`.

        Raises:
            ValueError: no picture (H×W×3 uint8), or a size that is none.
        """
        height, width = checked_size(picture) if size is None else size
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
        size = checked_size(picture)
        with torch.inference_mode():
            maps = self.score_maps(picture)
            if self._top3 is not None and len(maps) == 1 and isinstance(maps[0], ClassLogits):
                return self._top3(maps[0].logits, size, base)
            parts = [self._encoded(strip, base) for strip in probability_strips(maps, size)]
        labels, scores = zip(*parts, strict=True)
        return SemanticMap(np.concatenate(labels, 1), np.concatenate(scores, 1))

    def _encoded(self, strip: Tensor, base: LabelBase) -> SemanticMap:
        if not self.has_three_classes:
            return top3(strip.cpu().numpy(), self.class_ids, base)
        return top3_on_device(strip, self.class_ids, base)

    def _strips(self, picture: Picture, size: tuple[int, int]) -> Iterator[Tensor]:
        checked_size(picture)
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

    @property
    def takes_frames(self) -> bool:
        """See `TorchSegmenter.takes_frames`."""
        return True

    def frame_logits(self, frames: Tensor) -> list[Tensor]:
        """See `TorchSegmenter.frame_logits`."""
        small = squashed(frames, (self._preprocess.height, self._preprocess.width)).permute(0, 3, 1, 2).float()
        return [self._network(normalised(small, self._preprocess.mean, self._preprocess.std)).logits.float()]


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

    @property
    def takes_frames(self) -> bool:
        """See `TorchSegmenter.takes_frames`. Networks of other libraries scale pictures on the host."""
        return hasattr(self._network, "frame_logits")

    def frame_logits(self, frames: Tensor) -> list[Tensor]:
        """See `TorchSegmenter.frame_logits`."""
        logits: list[Tensor] = self._network.frame_logits(frames, self._short_sides)
        return logits


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
