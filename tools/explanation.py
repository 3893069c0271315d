"""What `classify --explain` says and shows of an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from config.labels import load_labels
from models.explain import Explanation
from models.prediction import FloatArray
from streamer.errors import OutputError, UserError
from streamer.files import write_bytes
from streamer.frame import Picture
from streamer.tint import SPAN_OF_ACTIVATION, SPAN_OF_GATE, heat
from tools.stems import same_stem

_SHOWN = 8
_AGAINST = 2  # of those shown, the ones that may speak against the scene
_LEAST_SHOWN = 0.0005  # smaller changes of a probability round to nothing
_DIGITS = 4


def explanation_report(explanation: Explanation) -> dict[str, Any]:
    """For JSON: `scene`, `p`, `view`, the maps as rows, and `classes`: [ADE20K id, name, p without it, drop] each."""
    names = load_labels("ade20k_objects").names
    report: dict[str, Any] = {
        "scene": explanation.scene,
        "p": round(explanation.p, 6),
        "view": [round(share, _DIGITS) for share in explanation.view],
        "activation": _rows(explanation.activation),
    }
    for branch, values in explanation.branches.items():
        report[f"activation_{branch}"] = _rows(values)
    if explanation.gate is not None:
        report["gate"] = _rows(explanation.gate)
    report["classes"] = [
        [effect.class_id, names[effect.class_id - 1], round(effect.p_without, 6), round(effect.drop, 6)]
        for effect in explanation.classes
    ]
    return report


def explanation_lines(report: dict[str, Any]) -> list[str]:
    """For a terminal: which classes carried the decision, and which spoke against it."""
    classes = [entry for entry in report["classes"] if abs(entry[3]) >= _LEAST_SHOWN]
    if len(classes) > _SHOWN:
        classes = [*classes[: _SHOWN - _AGAINST], *classes[-_AGAINST:]]
    lines = [f"  {report['scene']} ({report['p']:.1%}) without a class:"]
    for _, name, p_without, drop in classes:
        lines.append(f"    {name.split(';')[0].split(',')[0]:<16} {p_without:6.1%}  ({-100 * drop:+.1f} points)")
    if not report["classes"]:
        return ["  no semantics to leave out: this network sees the picture alone"]
    return lines if classes else [f"  no single class matters for {report['scene']} ({report['p']:.1%})"]


def check_stems(pictures: Sequence[Path]) -> None:
    """Refuse pictures whose heat maps would have the same names.

    Raises:
        UserError: two of them; the message names both.
    """
    if pair := same_stem(pictures):
        raise UserError(
            f"{pair[0]} and {pair[1]} would both become {pair[1].stem}.activation.png; explain them one by one "
            "with different --explain-dir folders"
        )


def write_heat_maps(explanation: Explanation, picture: Picture, stem: str, folder: Path) -> list[Path]:
    """Write `STEM.activation.png`, `STEM.activation_rgb.png`..., `STEM.gate.png`: heat over the picture.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    maps = {"activation": (explanation.activation, SPAN_OF_ACTIVATION)}
    maps |= {f"activation_{name}": (values, SPAN_OF_ACTIVATION) for name, values in explanation.branches.items()}
    if explanation.gate is not None:
        maps["gate"] = (explanation.gate, SPAN_OF_GATE)
    paths = []
    for name, (values, span) in maps.items():
        drawn = heat(picture, values, explanation.view, span)
        paths.append(_png(drawn, folder / f"{stem}.{name}.png"))
    return paths


def _png(picture: Picture, path: Path) -> Path:
    good, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not good:
        raise OutputError(f"cannot write {path}: the picture cannot be written as PNG")
    write_bytes(path, bytes(data))
    return path


def _rows(values: FloatArray) -> list[list[float]]:
    return [[round(float(value), _DIGITS) for value in row] for row in values]
