"""Reads labels that were written down: `<stem>.labels.jsonl` of `annotate`, or what `watch --json` printed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from config.faults import describe
from streamer.errors import LabelFileError
from streamer.message import VERSION
from streamer.spans import Moment

_LOG = logging.getLogger(__name__)

# A label has 2 kB; what has no end of line for so long is no text of labels.
_LONGEST_LINE = 1 << 20

Probability = Annotated[float, Field(ge=0, le=1.000001, allow_inf_nan=False)]


class _Part(BaseModel):
    # Keys that are not needed here are not looked at: readers of the protocol ignore what they do not know.
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Stable(_Part):
    scene: str
    p: Probability


class _Label(_Part):
    v: int
    source: str
    run: str
    epoch: int = Field(ge=0)
    pts: int
    time_base: list[PositiveInt] = Field(min_length=2, max_length=2)
    frame_id: int = Field(ge=0)
    stable: _Stable
    smoothed: list[tuple[str, Probability]]
    unknown: bool
    p_unknown: Probability | None = None
    cut: str | None = None
    model: dict[str, Any] = {}
    smoother: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class LabelLine:
    """One label of a file.

    Attributes:
        number: of its line, from 1.
        source: name of the source.
        moment: which frame, and what is believed of it.
        smoothed: the best scenes over time, best first, with their probabilities.
        model, smoother: as in label messages.
    """

    number: int
    source: str
    moment: Moment
    smoothed: list[tuple[str, float]]
    model: dict[str, Any]
    smoother: dict[str, Any]


def read_labels(path: Path, source: str | None = None) -> Iterator[LabelLine]:
    """The labels of one source, in the order of the file.

    Messages of other kinds, which `watch --json` prints too, are passed over. A last line that was cut off, as a killed
    program leaves it, is left out with a warning.

    Args:
        path: one JSON object a line: a label body, or `{"topic": ..., "body": ...}`.
        source: name of the source; may be left out where the file has only one.

    Raises:
        LabelFileError: the file is missing, has no labels (of that source), holds several sources of which none was
            chosen, or a line is no label.
    """
    chosen, others, found = source, set[str](), False
    for number, body in _bodies(path):
        label = _parse(path, number, body)
        chosen = chosen or label.source
        if label.source == chosen:
            found = True
            yield label
        elif source is None:
            raise LabelFileError(
                f"{path} line {number}: labels of {label.source!r} beside those of {chosen!r}; choose one with --source"
            )
        else:
            others.add(label.source)
    if not found and others:
        raise LabelFileError(f"{path} holds no labels of {source!r}; it has those of {', '.join(sorted(others))}")
    if not found:
        raise LabelFileError(f"{path} holds no labels; it should have a label body a line, as annotate writes them")


def _bodies(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of the line and body of every label message."""
    try:
        with path.open("rb") as stream:
            for number, line in _lines(path, stream):
                body = _load(path, number, line)
                if body is not None and body.get("type") == "label":
                    yield number, body
    except FileNotFoundError:
        raise LabelFileError(f"no labels at {path}; `annotate` writes them as NAME.labels.jsonl") from None
    except OSError as error:
        raise LabelFileError(f"cannot read {path}: {error.strerror}") from error


def _lines(path: Path, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise LabelFileError(f"{path} line {number} is far too long for a label; this is no file of labels")
        if line.strip():
            yield number, line


def _load(path: Path, number: int, line: bytes) -> dict[str, Any] | None:
    """The message of a line; None if its end is missing."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        if not line.endswith(b"\n"):
            _LOG.warning("%s: the last line (%d) is cut off and left out", path, number)
            return None
        raise LabelFileError(f"{path} line {number} is no JSON: {error}") from None
    body = values.get("body") if isinstance(values, dict) and "topic" in values else values
    if not isinstance(body, dict):
        raise LabelFileError(f"{path} line {number} is no message, which is a JSON object")
    return body


def _parse(path: Path, number: int, body: dict[str, Any]) -> LabelLine:
    if body.get("v") != VERSION:
        raise LabelFileError(f"{path} line {number}: protocol version {body.get('v')!r}; this reader knows {VERSION}")
    try:
        label = _Label.model_validate(body)
    except ValidationError as error:
        raise LabelFileError(f"{path} line {number}: {describe(error, _Label)}") from None
    moment = Moment(
        label.pts,
        Fraction(*label.time_base),
        label.epoch,
        label.frame_id,
        stable=label.stable.scene,
        p=label.stable.p,
        unknown=label.unknown,
        p_unknown=label.p_unknown,
        cut=label.cut is not None,
        run=label.run,
    )
    return LabelLine(number, label.source, moment, label.smoothed, label.model, label.smoother)
