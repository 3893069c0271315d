"""`export_model`: files of a model for others to use, checked against torch before they get their names."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.backends.base import Array
from models.errors import ModelError
from models.openvino_library import ov
from models.package import ModelPackage
from streamer.files import output_errors
from tools.export.formats import Runner, onnx_runners, openvino_runner, to_openvino, write_onnx, write_openvino
from tools.export.networks import Exportable, Picture, exportable

__all__ = ["Exported", "check_pictures", "export_model"]

_log = logging.getLogger(__name__)

_TOLERANCE = 1e-3  # largest difference in a probability that the check lets pass
_INT8_SAME = 0.9  # share of the check's pictures whose best scene an INT8 file must leave as it is


@dataclass(frozen=True)
class Exported:
    """A written format.

    Attributes:
        form: `onnx` or `openvino`.
        files: where they are.
        difference: the largest in a probability over the check's pictures, by what ran the file.
        notes: how something is expressed.
    """

    form: str
    files: tuple[Path, ...]
    difference: dict[str, float]
    notes: tuple[str, ...]


def export_model(
    package: ModelPackage,
    folder: Path,
    forms: Sequence[str],
    pictures: Sequence[Picture],
    *,
    batch: int | None = None,
    calibrate: Sequence[Picture] | None = None,
) -> list[Exported]:
    """Write a model as `NAME.onnx`, or `NAME.xml` and `NAME.bin`, with `labels.txt` and `NAME.json` beside them.

    Nothing appears in the folder unless all files say what torch says.

    Args:
        package: a joint model or a scene network.
        folder: made if need be.
        forms: `onnx`, `openvino` or both.
        pictures: any size, that files and torch are compared on.
        batch: pictures that the files take at a time; None is any number.
        calibrate: pictures to measure the ranges of activations on, for INT8 (OpenVINO).

    Raises:
        ModelError: the model cannot be written, or a file disagrees with torch.
        OutputError: the folder cannot be written.
    """
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    done = []
    with output_errors(folder), tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as passing:
        for form in forms:
            model = exportable(package, form, batch)
            _log.info("writing %s", form)
            path = _write(package, model, form, Path(passing), batch, calibrate)
            runners = onnx_runners(path) if form == "onnx" else {"openvino": openvino_runner(path)}
            batches = _batches(model, pictures, batch)
            wanted = _probabilities(_torch_runner(model), batches)
            found = {
                name: _compared(name, _probabilities(run, batches), wanted, calibrate is not None)
                for name, run in runners.items()
            }
            done.append(Exported(form, (), found, model.notes))
        _describe(package, exportable(package, forms[0], batch), Path(passing), batch)
        files = [_moved(path, folder) for path in sorted(Path(passing).iterdir())]
    suffixes = {"onnx": (".onnx",), "openvino": (".xml", ".bin")}
    return [
        Exported(one.form, tuple(f for f in files if f.suffix in suffixes[one.form]), one.difference, one.notes)
        for one in done
    ]


def check_pictures() -> list[Picture]:
    """Noise, and smooth colours: what files are compared on when the user gives no pictures."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 300 * 400 * 3).reshape(300, 400, 3).astype(np.uint8)
    return [rng.integers(0, 256, (300, 400, 3), dtype=np.uint8), ramp, np.ascontiguousarray(ramp[::-1, :, ::-1])]


def _write(
    package: ModelPackage,
    model: Exportable,
    form: str,
    folder: Path,
    batch: int | None,
    calibrate: Sequence[Picture] | None,
) -> Path:
    name = package.manifest.name
    examples = model.arrays(check_pictures()[:1] * (batch or 2))
    if form == "onnx":
        write_onnx(model, examples, folder / f"{name}.onnx", batch)
        return folder / f"{name}.onnx"
    graph: ov.Model = to_openvino(model, examples, batch)
    if calibrate is not None:
        from tools.export.int8 import quantised

        graph = quantised(graph, calibrate, lambda picture: model.arrays([picture] * (batch or 1)))
    write_openvino(graph, folder / f"{name}.xml")
    return folder / f"{name}.xml"


def _batches(model: Exportable, pictures: Sequence[Picture], batch: int | None) -> list[list[Array]]:
    """Inputs for the pictures: batches of the file's own number, else of one and of several by turns."""
    sizes = [batch] * -(-len(pictures) // batch) if batch is not None else _turns(len(pictures))
    batches, start = [], 0
    for size in sizes:
        chosen = [pictures[i % len(pictures)] for i in range(start, start + size)]
        batches.append(model.arrays(chosen))
        start += size
    return batches


def _turns(count: int) -> list[int]:
    sizes: list[int] = []
    while count > 0:
        sizes.append(min(count, 2 if sizes and sizes[-1] == 1 else 1))
        count -= sizes[-1]
    return sizes


def _torch_runner(model: Exportable) -> Runner:
    def run(arrays: Sequence[Array]) -> dict[str, Array]:
        with torch.no_grad():
            outputs = model.module(*(torch.from_numpy(array) for array in arrays))
        return dict(zip(model.outputs, (tensor.numpy() for tensor in outputs), strict=True))

    return run


def _probabilities(run: Runner, batches: Sequence[Sequence[Array]]) -> Array:
    return np.concatenate([run(arrays)["probabilities"] for arrays in batches])


def _compared(name: str, found: Array, wanted: Array, int8: bool) -> float:
    """The largest difference in a probability; INT8 only has to leave most best scenes as they are.

    Raises:
        ModelError: the file disagrees with torch.
    """
    difference = float(np.abs(found - wanted).max())
    if int8:
        same = float((found.argmax(1) == wanted.argmax(1)).mean())
        agrees, words = same >= _INT8_SAME, f"names another scene for {1 - same:.0%} of the pictures"
    else:
        agrees, words = difference <= _TOLERANCE, f"is off by {difference:.2g} in a probability"
    if not agrees:
        raise ModelError(f"the exported file, run by {name}, {words} against torch; nothing was written")
    return difference


def _describe(package: ModelPackage, model: Exportable, folder: Path, batch: int | None) -> None:
    """What a reader of the files needs: names of the scenes, one a line, and what goes in and comes out."""
    manifest = package.manifest
    (folder / "labels.txt").write_text("\n".join(package.labels) + "\n", encoding="utf-8")
    shapes = {
        name: ["batch" if batch is None else batch, *array.shape[1:], str(array.dtype)]
        for name, array in zip(model.inputs, model.arrays(check_pictures()[:1]), strict=True)
    }
    seen: dict[str, object] = {} if manifest.preprocess is None else manifest.preprocess.model_dump()
    facts = {
        "name": manifest.name,
        "version": manifest.version,
        "weights_sha256": package.weights_sha256,
        "inputs": shapes,
        "outputs": list(model.outputs),
        "picture": {"layout": "NHWC", "colour": "RGB", "normalised": "inside the file"} | seen,
        "crop": None if manifest.crop is None else manifest.crop.model_dump(),
        "temperature": manifest.calibration.temperature,
        "labels": list(package.labels),
    }
    text = json.dumps(facts, indent=2) + "\n"
    (folder / f"{manifest.name}.json").write_text(text, encoding="utf-8")


def _moved(path: Path, folder: Path) -> Path:
    return path.replace(folder / path.name)
