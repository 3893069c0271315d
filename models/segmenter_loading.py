"""Segmenters on torch, made from model packages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from config.plugins import Registry
from models.devices import torch_device
from models.encoding import LabelBase, SemanticMap, top3
from models.errors import ModelError
from models.package import ModelPackage, find_package
from models.prediction import FloatArray
from models.preprocess import Preprocess
from models.score_maps import ClassLogits, ScoreMap, probability_strips
from models.segmentation import Picture, PictureSegmenter

SEGMENTERS = Registry("segmenter", "models.segmenters")

_JOINT_PREFIX = "segmenter."  # of the segmenter's weights in a joint model


class TorchSegmenter(PictureSegmenter):
    """A segmenter on torch. Maps are enlarged a strip of rows at a time, so that `encode` needs little memory."""

    def __init__(self, name: str, sha256: str | None, class_ids: tuple[int, ...], device: str) -> None:
        self.name, self.sha256, self.class_ids, self.device = name, sha256, class_ids, device

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
            whole[:, row : row + strip.shape[1]] = strip
            row += strip.shape[1]
        return whole

    def encode(self, picture: Picture, base: LabelBase = LabelBase.ZERO) -> SemanticMap:
        """See `PictureSegmenter.encode`."""
        strips = [top3(strip, self.class_ids, base) for strip in self._strips(picture, picture_size(picture))]
        labels, scores = zip(*strips, strict=True)
        return SemanticMap(np.concatenate(labels, 1), np.concatenate(scores, 1))

    def _strips(self, picture: Picture, size: tuple[int, int]) -> Iterator[FloatArray]:
        picture_size(picture)
        with torch.inference_mode():
            for strip in probability_strips(self.score_maps(picture), size):
                yield strip.cpu().numpy()


class SquashedSegmenter(TorchSegmenter):
    """The segmenter of a joint model: the whole picture squashed to one size, as its classifier sees it."""

    def __init__(self, package: ModelPackage, network: nn.Module, preprocess: Preprocess, device: str) -> None:
        super().__init__(package.manifest.name, package.weights_sha256, tuple(network.class_ids), device)  # type: ignore[arg-type]
        self._network = network
        self._preprocess = preprocess

    def score_maps(self, picture: Picture) -> Sequence[ScoreMap]:
        """See `TorchSegmenter.score_maps`."""
        tensor = torch.from_numpy(self._preprocess(picture))[None].to(self.device)
        return [ClassLogits(self._network(tensor).logits[0].float())]


def picture_size(picture: Picture) -> tuple[int, int]:
    """(H, W) of a picture.

    Raises:
        ValueError: it is no H×W×3 uint8 array, or is empty.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ValueError(f"a picture is HxWx3 uint8 RGB and not empty, not {picture.dtype} {picture.shape}")
    return picture.shape[0], picture.shape[1]


def segmenter_of_package(
    name: str, *, device: str, threads: int | None, short_sides: Sequence[int] | None
) -> PictureSegmenter:
    """The segmenter of a model package; see `models.segmentation.load_segmenter`."""
    package = find_package(name)
    spec = package.manifest.segmenter
    if spec is None:
        raise ModelError(f"model {name!r} has no segmenter of its own; give one that has, such as scene18")
    if package.manifest.kind != "joint":
        raise ModelError(f"model {name!r}: segmenters alone cannot be loaded yet")
    if short_sides is not None:
        raise ModelError(f"model {name!r} sees every picture at one size; leave the short sides out")
    found = torch_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    network = SEGMENTERS.build(spec.kind, spec.params)
    _fill(network, package, _JOINT_PREFIX)
    return SquashedSegmenter(package, network.eval().to(found), package.preprocess, found)


def _fill(network: nn.Module, package: ModelPackage, prefix: str = "") -> None:
    try:
        network.load_state_dict(_weights(package, prefix))
    except RuntimeError as error:
        raise ModelError(f"the weights of {package.manifest.name!r} do not fit its segmenter: {error}") from error


def _weights(package: ModelPackage, prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with `prefix`, without it, in float32 where they are floating point."""
    with safe_open(package.path("weights"), framework="pt") as file:
        names = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118 - no mapping
        tensors = {key.removeprefix(prefix): file.get_tensor(key) for key in names}
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
