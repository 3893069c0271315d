"""`export_int8_segmenter`: a segmenter's folder that holds its network in 8 bits as well, and says how near it is.

How near depends on the weights and the pictures, so it is measured each time, the way that the live networks go, and
stands in the new folder's `model.json`.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from models.backends.base import Array
from models.backends.openvino import traced
from models.compiled_segmenter import compile_segmenter, logits_network, trace_example
from models.engine import Engine
from models.errors import ModelError
from models.layers.csail.segmenter import CsailSegmenter
from models.package import Int8Agreement, ModelFile, ModelPackage
from models.segmentation import Picture, PictureSegmenter, load_segmenter
from models.segmenter_loading import scaling_network
from streamer.files import output_errors
from tools.export.formats import write_openvino
from tools.export.int8 import quantised

__all__ = ["Int8Exported", "compare", "export_int8_segmenter"]

_log = logging.getLogger(__name__)

_LEAST_SAME = 0.5  # share of positions; a file under it is broken rather than rough
_SHRUNK = 4  # pixels to a side of a position: a decoder knows no finer ones


@dataclass(frozen=True)
class Int8Exported:
    """What was written.

    Attributes:
        files: where they are.
        agreement: with the network in float32.
    """

    files: tuple[Path, ...]
    agreement: Int8Agreement


def export_int8_segmenter(
    package: ModelPackage,
    folder: Path,
    calibrate: Sequence[Picture],
    check: Sequence[Picture],
    short_sides: Sequence[int] | None = None,
) -> Int8Exported:
    """Write a folder that is the model's copy with the files `int8.xml` and `int8.bin`; it may be the model's own.

    Nothing appears in the folder unless the files run, and name most positions as float32 does.

    Args:
        package: a segmenter alone, one of ours.
        folder: made if need be; of this model, or of none.
        calibrate: pictures to measure the ranges of activations on.
        check: pictures that 8 bits and float32 are compared on.
        short_sides: the scales, in pixels, that they are seen at; None is the segmenter's own.

    Raises:
        ModelError: it is no such segmenter, the folder holds another model, or the files disagree with float32.
        MissingLibraryError: NNCF is not installed.
        OutputError: the folder cannot be written.
    """
    network = _network(package)
    _check_free(folder, package)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with output_errors(folder), tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as passing:
        made = Path(passing)
        _log.info("measuring ranges on %d pictures", len(calibrate))
        _write_graph(network, calibrate, short_sides or network.short_sides, made / "int8.xml")
        shutil.copyfile(package.path("weights"), made / package.manifest.files["weights"].path)
        _describe(package, made, None)  # so that it can be loaded, as any model
        _log.info("comparing with float32 on %d pictures", len(check))
        agreement = _agreement(made, check, short_sides, len(calibrate))
        if agreement.same_class < _LEAST_SAME:
            raise ModelError(f"{package.manifest.name!r} in 8 bits is broken, {agreement}; nothing was written")
        _describe(package, made, agreement)
        # The description last: until then the folder says what it said.
        written = sorted(made.iterdir(), key=lambda path: path.name == "model.json")
        files = [path.replace(folder / path.name) for path in written]
    return Int8Exported(tuple(files), agreement)


def compare(one: PictureSegmenter, other: PictureSegmenter, picture: Picture) -> tuple[float, float]:
    """How two segmenters with the same classes differ on a picture, at positions of 4x4 pixels.

    Returns:
        The share of positions with the same best class, and the mean of a position's largest difference of a
        probability.
    """
    size = (-(-picture.shape[0] // _SHRUNK), -(-picture.shape[1] // _SHRUNK))
    here, there = one.probabilities(picture, size), other.probabilities(picture, size)
    same = float((here.argmax(0) == there.argmax(0)).mean())
    return same, float(np.abs(here - there).max(0).mean())


def _network(package: ModelPackage) -> CsailSegmenter:
    if package.manifest.kind != "segmenter":
        raise ModelError(f"model {package.manifest.name!r} is no segmenter alone")
    network = scaling_network(package)
    if not isinstance(network, CsailSegmenter):
        raise ModelError(f"model {package.manifest.name!r} is a segmenter of another library, which stays on torch")
    network.eval()
    return network


def _check_free(folder: Path, package: ModelPackage) -> None:
    if (folder / "model.json").exists() and ModelPackage(folder).weights_sha256 != package.weights_sha256:
        raise ModelError(f"{folder} holds another model; give a folder of its own with -o")


def _write_graph(network: CsailSegmenter, pictures: Sequence[Picture], short_sides: Sequence[int], path: Path) -> None:
    def inputs(view: tuple[int, int]) -> list[Array]:
        number, short_side = view
        return [network.view(pictures[number], short_side).numpy()]

    graph = traced(logits_network(network), trace_example())
    graph.reshape([1, 3, -1, -1])
    write_openvino(quantised(graph, list(product(range(len(pictures)), short_sides)), inputs, fast=True), path)


def _agreement(
    folder: Path, pictures: Sequence[Picture], short_sides: Sequence[int] | None, calibrated_on: int
) -> Int8Agreement:
    exact, rough = (load_segmenter(str(folder), device="cpu", short_sides=short_sides) for _ in range(2))
    compile_segmenter(exact, Engine("openvino", "cpu", precision="f32"))
    compile_segmenter(rough, Engine("openvino", "cpu", precision="int8"))
    same, difference = np.array([compare(exact, rough, picture) for picture in pictures]).T
    return Int8Agreement(
        same_class=float(same.mean()),
        worst_picture=float(same.min()),
        difference=float(difference.mean()),
        pictures=len(pictures),
        calibrated_on=calibrated_on,
    )


def _describe(package: ModelPackage, folder: Path, agreement: Int8Agreement | None) -> None:
    """Write `model.json`: the model's own, with what lies in the folder."""
    files = {"weights": package.manifest.files["weights"].path, "int8": "int8.xml", "int8_weights": "int8.bin"}
    entries = {part: ModelFile.of(folder / name) for part, name in files.items()}
    manifest = package.manifest.model_copy(update={"int8": agreement, "files": entries})
    text = manifest.model_dump_json(indent=2, exclude_defaults=True)
    (folder / "model.json").write_text(text + "\n", encoding="utf-8")
