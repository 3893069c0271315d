"""`<stem>.summary.txt`, `.summary.json` and `.summary.png`: shares of time, transitions, longest stays."""

from __future__ import annotations

import json
from pathlib import Path

from streamer.files import write_bytes
from streamer.sinks.base import Target
from tools.timeline.recording import Recording
from tools.timeline.summary import summarise
from tools.timeline.summary_view import summary_png, summary_text


def write(recording: Recording, target: Target) -> list[Path]:
    """Write the files.

    Raises:
        MissingLibraryError: there is no matplotlib for the picture; then there is no file at all.
        OutputError: a file cannot be written.
    """
    summary = summarise(recording.timeline)
    contents = {
        "summary.png": summary_png(summary),
        "summary.txt": summary_text(summary).encode(),
        "summary.json": f"{json.dumps(summary.body(), indent=2, ensure_ascii=False)}\n".encode(),
    }
    for ending, content in contents.items():
        write_bytes(target.file(ending), content)
    return [target.file(ending) for ending in contents]
