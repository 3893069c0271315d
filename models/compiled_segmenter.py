"""Segmenters whose networks another library runs; what comes before and behind them stays as it is.

Measured in CPU time on two cores, a picture of 448x800: `c1_mobilenetv2` 1.7 s on torch and 0.3 s in OpenVINO,
`upernet_r50` 8.1 s and 5.9 s.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from config.schema import Precision
from models.backends import BACKENDS
from models.layers.csail.segmenter import CsailSegmenter
from models.segmentation import PictureSegmenter
from models.segmenters.lite_fpn import LiteFpn, SegmenterOutput
from models.torch_segmenters import TorchSegmenter

_EXAMPLE = (1, 3, 256, 320)  # at which no map of a decoder has by chance the size that another one is resized to


def compile_segmenter(
    segmenter: PictureSegmenter,
    engine: str,
    device: str,
    threads: int | None,
    precision: Precision = "auto",
    lanes: int = 1,
) -> None:
    """Let a backend run a segmenter's network, where it is one of ours; networks of other libraries stay on torch.

    Raises:
        ModelError: the backend has no such device or precision.
    """
    values = {"device": device, "threads": threads, "precision": precision, "lanes": lanes}

    def change(network: nn.Module) -> nn.Module:
        if isinstance(network, CsailSegmenter):
            network.encoder = _Compiled(nn.Sequential(network.encoder, network.decoder), engine, values)
            network.decoder = nn.Identity()
            return network
        return _CompiledLiteFpn(network, engine, values) if isinstance(network, LiteFpn) else network

    if isinstance(segmenter, TorchSegmenter):
        segmenter.exchange_network(change)


class _Compiled(nn.Module):
    """A module with one input and one output, run by a backend on the CPU's side of things."""

    def __init__(self, source: nn.Module, engine: str, values: Mapping[str, Any]) -> None:
        super().__init__()
        self.source = source  # its parameters say where the caller shall put the input
        params = BACKENDS.params(engine, values)
        self._run = BACKENDS.load(engine).compile_module(params, source, (torch.zeros(_EXAMPLE),))

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

    def __init__(self, network: LiteFpn, engine: str, values: Mapping[str, Any]) -> None:
        super().__init__()
        self.compiled = _Compiled(_Logits(network), engine, values)

    def forward(self, x: Tensor) -> SegmenterOutput:
        """The logits, and no features."""
        return SegmenterOutput(x.new_empty(0), self.compiled(x))
