"""Segmenters whose networks another library runs; what comes before and behind them stays as it is.

Measured in CPU time on two cores, a picture of 448x800: `c1_mobilenetv2` 1.7 s on torch and 0.3 s in OpenVINO. The
large convolutions of `upernet_r50` take Winograd's way here, in float32. bfloat16 would gain no more (on a CPU that has
it), and moves its probabilities by up to 0.07. In 8 bits the plain convolutions are run, from a file that
`tools.export` made: Winograd's transforms spread the values too far apart for 8 bits.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from models.backends.base import CompiledModule
from models.compiled_top3 import CompiledTop3
from models.engine import Engine
from models.errors import ModelError
from models.layers.csail.decoders import UPerNet
from models.layers.csail.segmenter import CsailSegmenter
from models.package import find_package
from models.segmentation import PictureSegmenter
from models.segmenters.lite_fpn import LiteFpn, SegmenterOutput
from models.torch_segmenters import TorchSegmenter

_EXAMPLE = (1, 3, 256, 320)  # at which no map of a decoder has by chance the size that another one is resized to
_EXACT = ("auto", "f32")  # precisions in which networks on a CPU compute in float32; Winograd's way is for them alone


def compile_segmenter(segmenter: PictureSegmenter, engine: Engine) -> None:
    """Let a backend run a segmenter's network, where it is one of ours; networks of other libraries stay on torch.

    Raises:
        ModelError: the backend has no such device or precision; see `int8_graph` for `int8`.
    """
    int8 = int8_graph(segmenter.name, engine) if engine.precision == "int8" else None

    def change(network: nn.Module) -> nn.Module:
        if isinstance(network, CsailSegmenter):
            if isinstance(network.decoder, UPerNet) and engine.precision in _EXACT:
                network.decoder.quicken()
            source = logits_network(network)
            run = engine.compile_module(source, trace_example()) if int8 is None else engine.load_module(int8)
            network.encoder, network.decoder = _Compiled(source, run), nn.Identity()
            return network
        return _CompiledLiteFpn(network, engine) if isinstance(network, LiteFpn) else network

    if isinstance(segmenter, TorchSegmenter):
        segmenter.exchange_network(change)
        if segmenter.has_three_classes:
            segmenter.exchange_top3(CompiledTop3(segmenter.class_ids, engine))


def int8_graph(segmenter: str | None, engine: Engine) -> Path:
    """The checked file of a segmenter in 8 bits, for a backend.

    Raises:
        ModelError: the backend runs no such files, the segmenter has none, or there is no segmenter.
    """
    if engine.name != "openvino":
        raise ModelError(f"{engine.name} runs no segmenter in 8 bits; use --backend openvino, or --precision f32")
    if segmenter is None:
        raise ModelError("--precision int8 is the segmenter's, and there is none; use --precision f32")
    package = None if segmenter.startswith("huggingface:") else find_package(segmenter)
    if package is None or package.manifest.kind != "segmenter":
        raise ModelError(
            f"segmenter {segmenter!r} has no form in 8 bits; --precision int8 is for what `scene-streamer export "
            "--int8` makes of upernet_r50, ppm_r50dilated or c1_mobilenetv2"
        )
    return package.int8_graph()


def logits_network(network: CsailSegmenter) -> nn.Module:
    """What a backend runs of the network: class logits (1, 150, h, w) of a view (1, 3, H, W)."""
    return nn.Sequential(network.encoder, network.decoder)


def trace_example() -> tuple[Tensor, ...]:
    """What `logits_network` is traced with."""
    return (torch.zeros(_EXAMPLE),)


class _Compiled(nn.Module):
    """A module with one input and one output, run by a backend on the CPU's side of things."""

    def __init__(self, source: nn.Module, run: CompiledModule) -> None:
        super().__init__()
        self.source = source  # its parameters say where the caller shall put the input
        self._run = run

    def forward(self, x: Tensor) -> Tensor:
        """What `source` makes of x (1, 3, H, W)."""
        return torch.from_numpy(self._run(x.numpy())[0])

    def lane(self) -> _Compiled:
        """Another one over the same weights, for a thread of its own."""
        lane = copy.copy(self)
        lane._run = self._run.lane()
        return lane


class _Logits(nn.Module):
    """The class logits of `LiteFpn` alone."""

    def __init__(self, network: LiteFpn) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(1, S, H/4, W/4)."""
        logits: Tensor = self.network(x).logits
        return logits


class _CompiledLiteFpn(nn.Module):
    """`LiteFpn` without its features, which serve a joint model's classifier alone."""

    def __init__(self, network: LiteFpn, engine: Engine) -> None:
        super().__init__()
        source = _Logits(network)
        self.compiled = _Compiled(source, engine.compile_module(source, trace_example()))

    def forward(self, x: Tensor) -> SegmenterOutput:
        """The logits, and no features."""
        return SegmenterOutput(x.new_empty(0), self.compiled(x))
