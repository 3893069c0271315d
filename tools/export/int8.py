"""INT8 by NNCF: weights and activations in 8 bits, the ranges of activations measured on pictures."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from config.plugins import MissingLibraryError
from models.backends.base import Array
from models.openvino_library import ov

T = TypeVar("T")


def check_nncf() -> None:
    """Raise MissingLibraryError, with the remedy, unless NNCF can be imported."""
    try:
        import nncf
    except ImportError as error:
        raise MissingLibraryError("--int8 needs the library nncf; run: pip install 'scene-streamer[export]'") from error
    nncf.set_log_level(logging.ERROR)


def quantised(
    graph: ov.Model, items: Sequence[T], inputs: Callable[[T], list[Array]], *, fast: bool = False
) -> ov.Model:
    """The graph in INT8.

    Products of two computed tensors stay as they are: they are little work beside the products with weights, and
    their errors would add to the result as they are.

    Args:
        graph: float32.
        items: what the ranges of activations are measured on.
        inputs: makes the graph's inputs of an item, one batch; made anew in each pass, for all of them are large.
        fast: correct biases by one pass for all layers, not layer by layer.

    Raises:
        MissingLibraryError: NNCF is not installed.
    """
    check_nncf()
    import nncf

    with contextlib.redirect_stdout(sys.stderr):  # its progress is no result of a command
        found: ov.Model = nncf.quantize(
            graph,
            nncf.Dataset(items, inputs),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(items),
            fast_bias_correction=fast,
            ignored_scope=nncf.IgnoredScope(names=products_of_computed(graph)),
        )
    return found


def products_of_computed(graph: ov.Model) -> list[str]:
    """The names of the matrix products of which neither side is made of constants alone."""
    constant: set[str] = set()
    products = []
    for node in graph.get_ordered_ops():
        fixed = [port.get_source_output().get_node().get_friendly_name() in constant for port in node.inputs()]
        if node.get_type_name() == "Constant" or (fixed and all(fixed)):
            constant.add(node.get_friendly_name())
        elif node.get_type_name() == "MatMul" and not any(fixed):
            products.append(node.get_friendly_name())
    return products
