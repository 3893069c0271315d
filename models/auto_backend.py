"""`--backend auto` on a CPU: a short measurement on the user's machine, made once and kept in the cache folder.

Only what says the same as float32 takes part (`models.package.Manifest.precisions`), of the libraries that are
installed. torch is not among them: importing it takes longer than a first label may.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from config.errors import UserError
from config.folders import cache_folder
from config.schema import Precision
from models.backends.base import Backend
from models.cores import processor_name, usable_cores
from models.engine import Engine
from models.package import ModelPackage

__all__ = ["Choice", "choose"]

_log = logging.getLogger(__name__)

_ENGINES = ("openvino", "onnxruntime")  # the first one stays unless another is quicker by more than chance
_CLEARLY = 0.95  # of the first one's time
_BUDGET_S = 1.2  # for the rounds, in which the candidates take turns
_MOST_ROUNDS, _FEWEST_ROUNDS, _WARM_UPS = 30, 3, 2
_FEW_CORES = 4  # below, half of them is no candidate


class Choice(BaseModel):
    """How to run a model.

    Attributes:
        engine, precision, threads: as `load_recognizer` takes them.
        ms: median of one picture when it was measured, one lane alone; None if there was nothing to choose from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: str
    precision: Precision
    threads: int | None
    ms: float | None = None

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} threads"
        return f"{self.engine} {self.precision}{threads}"


def choose(package: ModelPackage, *, device: str, threads: int | None, precision: Precision, lanes: int) -> Choice:
    """The quickest way to run a joint model on a CPU here.

    Args:
        package: the model.
        device: `auto` or `cpu`; another device of OpenVINO leaves no choice.
        threads: those that the user wants; None leaves them to the measurement.
        precision: the one that the user wants; `auto` is those that the model allows.
        lanes: how many recognizers will run side by side.

    Raises:
        ModelError: no library runs the model so.
    """
    candidates = _candidates(package, device, threads, precision)
    if len(candidates) == 1:
        return candidates[0]
    path = cache_folder() / "backends.json"
    key = cache_key(package, candidates, threads, precision, lanes)
    found = _read(path).get(key)
    if found is not None:
        _log.info("auto: %s, %.1f ms a picture when measured (cached in %s)", found, found.ms or 0.0, path)
        return found
    timed = _measured(package, device, candidates, lanes)
    best = _best(timed)
    others = ", ".join(f"{choice} {choice.ms:.1f}" for choice in timed if choice != best)
    kept = f"cached in {path}" if _write(path, key, best) else f"not cached: {path} cannot be written"
    _log.info("auto: %s, %.1f ms a picture (%s); measured once, %s", best, best.ms, others or "alone", kept)
    return best


def cache_key(
    package: ModelPackage, candidates: Sequence[Choice], threads: int | None, precision: Precision, lanes: int
) -> str:
    """Equal for what would be measured the same: model, libraries, processor, threads, lanes."""
    facts = {
        "files": {part: entry.sha256 for part, entry in package.manifest.files.items()},
        "candidates": [str(candidate) for candidate in candidates],
        "versions": {name: version(name) for name in sorted({"numpy", *(c.engine for c in candidates)})},
        "processor": processor_name(),
        "cores": usable_cores(),
        "asked": [threads, precision, lanes],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _candidates(package: ModelPackage, device: str, threads: int | None, precision: Precision) -> list[Choice]:
    if device not in ("auto", "cpu"):
        return [Choice(engine="openvino", precision=precision, threads=threads)]
    engines = [name for name in _ENGINES if importlib.util.find_spec(name) is not None]
    precisions = package.manifest.precisions if precision == "auto" else (precision,)
    # With two threads a core, one a core is often the better number; and a quota may leave fewer than can be seen.
    counts = [threads]
    if threads is None:
        counts = [usable_cores()] if usable_cores() < _FEW_CORES else [usable_cores(), usable_cores() // 2]
    return [Choice(engine=e, precision=p, threads=n) for e in engines for p in precisions for n in counts]


def _measured(package: ModelPackage, device: str, candidates: Sequence[Choice], lanes: int) -> list[Choice]:
    """The candidates that run here, each with its time."""
    backends: dict[Choice, Backend] = {}
    failure: UserError | None = None
    for choice in candidates:
        try:
            backends[choice] = _built(package, device, choice, lanes)
        except UserError as error:  # a library or a processor without that precision, or a broken installation
            _log.debug("auto: not %s: %s", choice, error)
            failure = error
    if not backends:
        assert failure is not None
        raise failure
    return [choice.model_copy(update={"ms": round(ms, 3)}) for choice, ms in _times(package, backends).items()]


def _built(package: ModelPackage, device: str, choice: Choice, lanes: int) -> Backend:
    on = "cpu" if device == "auto" else device
    return Engine(choice.engine, on, choice.threads, choice.precision, lanes).build(package)


def _times(package: ModelPackage, backends: Mapping[Choice, Backend]) -> dict[Choice, float]:
    """Median milliseconds of a picture; they take turns, so that what else the machine does hits all of them."""
    size = (1, package.preprocess.height, package.preprocess.width, 3)
    pictures = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    times: dict[Choice, list[float]] = {choice: [] for choice in backends}
    end = time.perf_counter() + _BUDGET_S
    for turn in range(_WARM_UPS + _MOST_ROUNDS):
        if turn >= _WARM_UPS + _FEWEST_ROUNDS and time.perf_counter() > end:
            break
        for choice, backend in backends.items():
            began = time.perf_counter()
            backend.infer(pictures)
            times[choice].append(1000 * (time.perf_counter() - began))
    return {choice: statistics.median(values[_WARM_UPS:]) for choice, values in times.items()}


def _best(timed: Sequence[Choice]) -> Choice:
    quickest = min(timed, key=_milliseconds)
    first = timed[0]
    return quickest if _milliseconds(quickest) < _CLEARLY * _milliseconds(first) else first


def _milliseconds(choice: Choice) -> float:
    assert choice.ms is not None
    return choice.ms


def _read(path: Path) -> dict[str, Choice]:
    """What was measured before; a file that is missing or damaged holds nothing."""
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        return {key: Choice.model_validate(value) for key, value in values.items()}
    except (OSError, ValueError, AttributeError, ValidationError):
        return {}


def _write(path: Path, key: str, choice: Choice) -> bool:
    """Add to what was measured before; whether that could be done."""
    entries = {name: entry.model_dump() for name, entry in (_read(path) | {key: choice}).items()}
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(entries, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError:
        return False
    return True
