"""`<stem>.timeline.csv`, a row a span, and `<stem>.cuts.csv`, a row a cut; for spreadsheets and scripts (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from streamer.files import write_bytes
from streamer.sinks.base import Target
from streamer.spans import Cut, Span
from tools.timeline.recording import Recording
from tools.timeline.words import clock, milliseconds

UNKNOWN = "unknown"
SPAN_COLUMNS = (
    *("number", "scene", "start", "end", "start_s", "end_s", "duration_s", "p", "frames"),
    *("part", "epoch", "start_pts", "end_pts", "time_base"),
)
CUT_COLUMNS = (
    *("number", "kind", "time", "time_s", "frame_id", "epoch", "pts", "time_base"),
    *("start", "start_s", "start_frame_id", "start_pts"),
)


def write(recording: Recording, target: Target) -> list[Path]:
    """Write both files; the second has only its header where there is no cut."""
    spans, cuts = target.file("timeline.csv"), target.file("cuts.csv")
    timeline = recording.timeline
    write_bytes(spans, _table(SPAN_COLUMNS, (_span_row(i, span) for i, span in enumerate(timeline.spans, 1))))
    write_bytes(cuts, _table(CUT_COLUMNS, (_cut_row(i, cut) for i, cut in enumerate(timeline.cuts, 1))))
    return [spans, cuts]


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue().encode()


def _span_row(number: int, span: Span) -> list[object]:
    times = [clock(milliseconds(time)) for time in (span.start, span.end)]
    seconds = [_seconds(time) for time in (span.start, span.end, span.duration)]
    p = "" if span.p is None else f"{span.p:.4f}"
    scene = UNKNOWN if span.scene is None else span.scene
    place = [span.part, span.epoch, span.start_pts, span.end_pts, str(span.time_base)]
    return [number, scene, *times, *seconds, p, span.frames, *place]


def _cut_row(number: int, cut: Cut) -> list[object]:
    where = [cut.frame_id, cut.epoch, cut.pts, str(cut.time_base)]
    began: list[object] = ["", "", "", ""]
    if cut.start is not None:
        began = [clock(milliseconds(cut.start)), _seconds(cut.start), cut.start_frame_id, cut.start_pts]
    return [number, cut.kind or "", clock(milliseconds(cut.at)), _seconds(cut.at), *where, *began]


def _seconds(time: Fraction) -> str:
    return f"{float(time):.6f}"
