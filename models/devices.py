"""Which device torch runs on."""

from __future__ import annotations

import torch

from models.errors import ModelError


def torch_device(wanted: str) -> str:
    """The device that `auto`, `cpu`, `cuda` or `cuda:N` means here; `auto` is CUDA where there is such a device.

    Raises:
        ModelError: there is no such device.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError("torch finds no CUDA device here; use --device cpu, or see `scene-streamer doctor`")
    try:
        return str(torch.device(wanted))
    except RuntimeError as error:
        raise ModelError(f"torch knows no device {wanted!r}; use cpu, cuda or cuda:N") from error
