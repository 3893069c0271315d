"""Reads labels that were written down: `<stem>.labels.jsonl` of `annotate`, or what `watch` heard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from config.faults import describe
from streamer.errors import LabelFileError
from streamer.message import VERSION
from streamer.message_file import Recorded, read_messages
from streamer.spans import CutNote, Moment

Probability = Annotated[float, Field(ge=0, le=1.000001, allow_inf_nan=False)]


class _Part(BaseModel):
    # Keys that are not needed here are not looked at: readers of the protocol ignore what they do not know.
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Stable(_Part):
    scene: str
    p: Probability


class _Transition(_Part):
    start_frame_id: int = Field(ge=0)
    start_pts: int
    end_frame_id: int = Field(ge=0)
    end_pts: int


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
    transition: _Transition | None = None
    model: dict[str, Any] = {}
    smoother: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class LabelLine:
    """One label of a file.

    Attributes:
        number: of its line, or of the message in an MCAP file, from 1.
        where: file and number in words, for errors.
        source: name of the source.
        moment: which frame, and what is believed of it.
        smoothed: the best scenes over time, best first, with their probabilities.
        model, smoother: as in label messages.
    """

    number: int
    where: str
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
        path: a file of messages (see `streamer.message_file`).
        source: name of the source; may be left out where the file has only one.

    Raises:
        LabelFileError: the file is missing, has no labels (of that source), holds several sources of which none was
            chosen, or a line is no label.
        MissingLibraryError: the library that reads MCAP is not installed.
    """
    chosen, others, found = source, set[str](), False
    for message in read_messages(path):
        if message.body.get("type") != "label":
            continue
        label = _parse(message)
        chosen = chosen or label.source
        if label.source == chosen:
            found = True
            yield label
        elif source is None:
            raise LabelFileError(
                f"{message.where}: labels of {label.source!r} beside those of {chosen!r}; choose one with --source"
            )
        else:
            others.add(label.source)
    if not found and others:
        raise LabelFileError(f"{path} holds no labels of {source!r}; it has those of {', '.join(sorted(others))}")
    if not found:
        raise LabelFileError(f"{path} holds no labels; it should have a label body a line, as annotate writes them")


def _parse(message: Recorded) -> LabelLine:
    version = message.body.get("v")
    if version != VERSION:
        raise LabelFileError(f"{message.where}: protocol version {version!r}; this reader knows {VERSION}")
    try:
        label = _Label.model_validate(message.body)
    except ValidationError as error:
        raise LabelFileError(f"{message.where}: {describe(error, _Label)}") from None
    moment = Moment(
        label.pts,
        Fraction(*label.time_base),
        label.epoch,
        label.frame_id,
        stable=label.stable.scene,
        p=label.stable.p,
        unknown=label.unknown,
        p_unknown=label.p_unknown,
        cut=_cut_note(label),
        run=label.run,
    )
    return LabelLine(message.number, message.where, label.source, moment, label.smoothed, label.model, label.smoother)


def _cut_note(label: _Label) -> CutNote | None:
    """What the label says of a cut; one without a transition lies at the label's own frame."""
    if label.cut is None:
        return None
    if label.transition is None:
        return CutNote(label.cut, label.frame_id, label.pts)
    there = label.transition
    return CutNote(label.cut, there.end_frame_id, there.end_pts, there.start_frame_id, there.start_pts)
