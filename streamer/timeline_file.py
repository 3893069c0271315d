"""Reads `<stem>.timeline.json` back (see `streamer.timeline` for what is in it)."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from config.faults import describe
from streamer.errors import LabelFileError
from streamer.spans import Cut, SceneTimeline, Span
from streamer.timeline import VERSION


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Source(_Part):
    name: str


class _Span(_Part):
    scene: str | None
    start_pts: int
    end_pts: int
    time_base: tuple[PositiveInt, PositiveInt]
    epoch: int = Field(ge=0)
    part: int = Field(ge=0)
    frames: PositiveInt
    p: float | None = Field(None, ge=0, le=1.000001)


class _Cut(_Part):
    kind: str | None = None
    frame_id: int
    pts: int
    time_base: tuple[PositiveInt, PositiveInt]
    at_s: float
    epoch: int
    start_frame_id: int | None = None
    start_pts: int | None = None
    start_at_s: float | None = None


class _File(_Part):
    source: _Source
    frames: PositiveInt
    longest_gap_s: float = Field(ge=0)
    spans: list[_Span] = Field(min_length=1)
    cuts: list[_Cut]
    model: dict[str, Any] = {}


def read_timeline_file(path: Path) -> SceneTimeline:
    """The timeline in a file; spans are exact, cuts to the microsecond.

    Raises:
        LabelFileError: the file is missing, of another version, or no timeline; the message has the key.
    """
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise LabelFileError(f"no timeline at {path}; `annotate` writes it as NAME.timeline.json") from None
    except (OSError, ValueError, RecursionError) as error:
        raise LabelFileError(f"{path} is no timeline: {error}") from None
    version = values.get("version") if isinstance(values, dict) else None
    if version != VERSION:
        raise LabelFileError(f"{path}: version is {version!r}, but only {VERSION} can be read here")
    try:
        file = _File.model_validate(values)
    except ValidationError as error:
        raise LabelFileError(f"{path}: {describe(error, _File)}; make it again from its labels") from None
    return _timeline(path, file)


def _timeline(path: Path, file: _File) -> SceneTimeline:
    spans: list[Span] = []
    for number, s in enumerate(file.spans):
        if s.end_pts <= s.start_pts:
            raise LabelFileError(f"{path}: spans.{number} ends before it starts; make it again from its labels")
        # Spans follow each other without a gap, so their lengths give their places.
        start = spans[-1].end if spans else Fraction(0)
        base = Fraction(*s.time_base)
        spans.append(Span(s.scene, s.part, s.epoch, s.start_pts, s.end_pts, base, start, s.frames, s.p))
    gap = Fraction(str(file.longest_gap_s))
    return SceneTimeline(file.source.name, tuple(spans), tuple(map(_cut, file.cuts)), file.frames, gap, file.model)


def _cut(c: _Cut) -> Cut:
    place = (c.frame_id, c.epoch, c.pts, Fraction(*c.time_base), Fraction(str(c.at_s)))
    start = None if c.start_at_s is None else Fraction(str(c.start_at_s))
    return Cut(c.kind, *place, c.start_frame_id, c.start_pts, start)
