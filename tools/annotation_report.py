"""What became of many recordings: a table for people, a line of JSON each for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tools.annotate import Annotation

_HEAD = ("recording", "result", "frames", "seconds", "fps", "")


def json_line(annotation: Annotation) -> str:
    """One annotation as JSON; times in seconds, `fps` over the frames of this run."""
    body = {
        "video": str(annotation.video),
        "result": _result(annotation),
        "files": [str(path) for path in annotation.files],
        "frames": annotation.frames,
        "resumed": annotation.resumed,
        "damaged": annotation.damaged,
        "seconds": round(annotation.seconds, 2),
        "fps": _fps(annotation),
        "notes": list(annotation.notes),
        "problem": annotation.problem,
    }
    return json.dumps(body)


def table(annotations: Sequence[Annotation], unfinished: Iterable[Path] = ()) -> str:
    """A line for each recording: what became of it, how long it took, and why it failed.

    Args:
        annotations: what is done, well or not.
        unfinished: recordings that an interruption kept from being done.
    """
    rows = [_HEAD, *map(_row, annotations)]
    rows += [(video.name, "interrupted", "", "", "", "--resume goes on with it") for video in unfinished]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    *cells, remarks = row
    texts = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*texts, *numbers, remarks]).rstrip()


def _row(annotation: Annotation) -> tuple[str, ...]:
    fps = _fps(annotation)
    return (
        annotation.video.name,
        _result(annotation),
        str(annotation.frames) if annotation.frames else "",
        f"{annotation.seconds:.1f}",
        "" if fps is None else f"{fps:.1f}",
        "; ".join(_remarks(annotation)),
    )


def _result(annotation: Annotation) -> str:
    if annotation.problem is None:
        return "done"
    return "incomplete" if annotation.files else "failed"


def _fps(annotation: Annotation) -> float | None:
    """Frames a second of this run; None where it made none."""
    frames = annotation.frames - annotation.resumed
    return round(frames / annotation.seconds, 2) if frames > 0 and annotation.seconds > 0 else None


def _remarks(annotation: Annotation) -> list[str]:
    remarks = [] if annotation.problem is None else [" ".join(annotation.problem.split())]
    if 0 < annotation.resumed < annotation.frames:
        remarks.append(f"{annotation.resumed} frames were done before")
    if annotation.damaged:
        remarks.append(f"{annotation.damaged} damaged frames could not be decoded")
    return [*remarks, *annotation.notes]
