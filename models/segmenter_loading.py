"""Picture segmenters by name: from model packages, or from the Hugging Face library."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models.devices import torch_device
from models.errors import ModelError
from models.package import ModelPackage, find_package
from models.segmentation import PictureSegmenter
from models.segmenters import SEGMENTERS
from models.torch_segmenters import PictureNetwork, ScaledSegmenter, SquashedSegmenter

_HUGGINGFACE = "huggingface"
_JOINT_PREFIX = "segmenter."  # of the segmenter's weights in a joint model
_SHOWN = 3


def make_segmenter(
    name: str, *, device: str, threads: int | None, short_sides: Sequence[int] | None
) -> PictureSegmenter:
    """See `models.segmentation.load_segmenter`."""
    found = torch_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    library, colon, model = name.partition(":")
    if colon and library == _HUGGINGFACE:
        network = SEGMENTERS.build(_HUGGINGFACE, {"model": model})
        return ScaledSegmenter(network, name=name, sha256=network.sha256, device=found, short_sides=short_sides)
    return _of_package(find_package(name), name, found, short_sides)


def _of_package(package: ModelPackage, name: str, device: str, short_sides: Sequence[int] | None) -> PictureSegmenter:
    manifest = package.manifest
    if manifest.segmenter is None:
        raise ModelError(f"model {name!r} has no segmenter; give one that has, such as scene18 or upernet_r50")
    if manifest.kind == "joint":
        if short_sides is not None:
            raise ModelError(f"model {name!r} sees every picture at one size; leave the short sides out")
        network = SEGMENTERS.build(manifest.segmenter.kind, manifest.segmenter.params)
        _fill(network, package, _JOINT_PREFIX)
        return SquashedSegmenter(
            network, package.preprocess, name=name, sha256=package.weights_sha256, device=device
        )  # fmt: skip
    return ScaledSegmenter(
        scaling_network(package), name=name, sha256=package.weights_sha256, device=device, short_sides=short_sides
    )


def scaling_network(package: ModelPackage) -> PictureNetwork:
    """The network of a model that is a segmenter alone, with its weights, on the CPU.

    Raises:
        ModelError: it is damaged, or belongs into a joint model.
    """
    assert package.manifest.segmenter is not None
    network = SEGMENTERS.build(package.manifest.segmenter.kind, package.manifest.segmenter.params)
    _fill(network, package)
    if not hasattr(network, "score_maps"):
        raise ModelError(
            f"model {package.manifest.name!r}: its segmenter does not scale pictures itself, so it belongs into a "
            "joint model, with `preprocess` and a classifier"
        )
    found: PictureNetwork = network
    return found


def _fill(network: nn.Module, package: ModelPackage, prefix: str = "") -> None:
    state = _weights(package, prefix)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        differences = _differences(network.state_dict(), state)
        raise ModelError(f"the weights of {package.manifest.name!r} do not fit its segmenter: {differences}") from error


def _weights(package: ModelPackage, prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with `prefix`, without it, in float32 where they are floating point."""
    path = package.path("weights")
    try:
        with safe_open(path, framework="pt") as file:
            names = [key for key in file.keys() if key.startswith(prefix)]  # noqa: SIM118 - no mapping
            tensors = {key.removeprefix(prefix): file.get_tensor(key) for key in names}
    except SafetensorError as error:
        raise ModelError(f"{path} is no safetensors file: {error}") from error
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}


def _differences(expected: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    both = expected.keys() & found.keys()
    kinds = {
        "missing": expected.keys() - found.keys(),
        "not known": found.keys() - expected.keys(),
        "of another shape": {key for key in both if expected[key].shape != found[key].shape},
    }
    return "; ".join(f"{what}: {_few(sorted(keys))}" for what, keys in kinds.items() if keys)


def _few(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
