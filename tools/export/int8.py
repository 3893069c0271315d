"""INT8 by NNCF: weights and activations in 8 bits, the ranges of activations measured on pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from config.plugins import MissingLibraryError
from models.backends.base import Array
from models.openvino_library import ov


def check_nncf() -> None:
    """Raise MissingLibraryError, with the remedy, unless NNCF can be imported."""
    try:
        import nncf
    except ImportError as error:
        raise MissingLibraryError("--int8 needs the library nncf; run: pip install 'scene-streamer[export]'") from error
    nncf.set_log_level(logging.ERROR)


def quantised(graph: ov.Model, inputs: Sequence[Sequence[Array]]) -> ov.Model:
    """The graph in INT8, its ranges measured on inputs of one batch each.

    Raises:
        MissingLibraryError: NNCF is not installed.
    """
    check_nncf()
    import nncf

    found: ov.Model = nncf.quantize(
        graph,
        nncf.Dataset([list(arrays) for arrays in inputs]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        fast_bias_correction=False,
    )
    return found
