"""Diagrams as PNG files, those of an evaluation among them, drawn by matplotlib without a screen."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from config.plugins import MissingLibraryError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMED = 80  # classes whose names still can be read beside a confusion matrix


def has_matplotlib() -> bool:
    """Whether diagrams can be drawn here."""
    return importlib.util.find_spec("matplotlib") is not None


def check_matplotlib() -> None:
    """Raise a MissingLibraryError if diagrams cannot be drawn here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingLibraryError("diagrams need matplotlib: pip install 'scene-streamer[train]'") from error


def confusion_png(confusion: NDArray[np.int64], labels: Sequence[str]) -> bytes:
    """A confusion matrix (C, C), row: true scene, as shares of each row; white where a scene has no picture."""
    counts = confusion.sum(axis=1, keepdims=True)
    shares = np.full(confusion.shape, np.nan)
    np.divide(confusion, counts, out=shares, where=counts > 0)
    named = len(labels) <= _NAMED
    side = 4 + 0.2 * len(labels) if named else 12
    figure = new_figure(side, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    if named:
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
        axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.colorbar(image, ax=axes, label="share of the true scene's pictures", shrink=0.7)
    return png(figure)


def reliability_png(bins: NDArray[np.float64], ece: float) -> bytes:
    """Accuracy over confidence, of `metrics.reliability`, and how many pictures a bin has."""
    count, confidence, accuracy = bins.T
    edges = np.linspace(0, 1, len(count) + 1)
    figure = new_figure(6, 7)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = count > 0
    upper.bar(edges[:-1], accuracy, 1 / len(count), align="edge", edgecolor="white", label="accuracy")
    upper.plot((0, 1), (0, 1), "--", color="grey", label="perfectly calibrated")
    upper.plot(
        confidence[filled], accuracy[filled], "o-", color="black", markersize=3, label="mean confidence of a bin"
    )
    upper.set(ylabel="Top@1", ylim=(0, 1), xlim=(0, 1), title=f"expected calibration error {ece:.3f}")
    upper.legend(loc="upper left")
    lower.bar(edges[:-1], count, 1 / len(count), align="edge", edgecolor="white", color="grey")
    lower.set(xlabel="confidence", ylabel="pictures")
    return png(figure)


def steadiness_png(methods: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Accuracy over flips per minute of `tools.steadiness`' methods, a point each: up and to the left is better."""
    figure = new_figure(8, 5)
    axes = figure.add_subplot()
    for name, row in methods.items():
        axes.plot(row["flips_per_minute"], row["accuracy"], "o")
        axes.annotate(name, (row["flips_per_minute"], row["accuracy"]), (6, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="changes a minute beyond the true ones", ylabel="time-weighted accuracy")
    axes.set_xlim(left=0)
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)
    return png(figure)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches."""
    # Not through pyplot: that keeps figures in a global list and picks a backend for a screen.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()
