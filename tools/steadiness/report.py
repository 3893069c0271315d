"""The table of the benchmark as JSON, and a diagram of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from config.schema import PluginChoice
from streamer.files import write_bytes
from tools.plots import has_matplotlib, steadiness_png
from tools.steadiness.cuts import CutTally
from tools.steadiness.methods import (
    Case,
    Method,
    equal_delay,
    in_a_row,
    looking_ahead,
    measured,
    raw_labels,
    smoothed,
)

_RULE = 3  # as others have it


def compare(cases: Sequence[Case], smoother: PluginChoice, unknown_threshold: float) -> dict[str, Any]:
    """All methods on all cases, and how well transitions are found: ready for JSON.

    Args:
        cases: the videos.
        smoother: the one in the settings; its parameters are taken, those of other kinds are the defaults.
        unknown_threshold: the model's.
    """

    def params(kind: str) -> Mapping[str, Any]:
        return smoother.params if smoother.kind == kind else {}

    methods: dict[str, Method] = {"raw": raw_labels, f"{_RULE} in a row": in_a_row(_RULE)}
    ours = ("exponential", "hidden_markov")
    rows = {kind: measured(smoothed(kind, params(kind), unknown_threshold), cases).figures() for kind in ours}
    delay = rows["hidden_markov"]["delay_p50_s"]
    n = equal_delay(cases, float(delay or 0.0))
    methods[f"{n} in a row (as slow)"] = in_a_row(n)
    table = {name: measured(method, cases).figures() for name, method in methods.items()} | rows
    ahead = looking_ahead(params("hidden_markov"), unknown_threshold)
    table["hidden_markov, offline"] = measured(ahead, cases).figures()
    cuts = CutTally()
    for case in cases:
        cuts += case.cuts
    return {"methods": table, "cuts": cuts.figures()}


def write_report(result: Mapping[str, Any], folder: Path, part: str) -> list[Path]:
    """`steadiness-PART.json`, and `.png` where matplotlib is installed.

    Raises:
        OutputError: a file cannot be written.
    """
    files = [folder / f"steadiness-{part}.json"]
    write_bytes(files[0], (json.dumps(result, indent=1) + "\n").encode())
    if has_matplotlib():
        files.append(folder / f"steadiness-{part}.png")
        write_bytes(files[1], steadiness_png(result["methods"]))
    return files
