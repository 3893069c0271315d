"""`<stem>.summary.txt`, `.summary.json` and `.summary.png`: shares of time, transitions, longest stays.

Without matplotlib, which only the extras bring, there is no picture, and a warning says so.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from config.plugins import MissingLibraryError
from streamer.files import write_bytes
from streamer.sinks.base import Target
from tools.timeline.recording import Recording
from tools.timeline.summary import summarise
from tools.timeline.summary_view import summary_png, summary_text

_LOG = logging.getLogger(__name__)


def write(recording: Recording, target: Target) -> list[Path]:
    """Write the files."""
    summary = summarise(recording.timeline)
    contents = {
        "summary.txt": summary_text(summary).encode(),
        "summary.json": f"{json.dumps(summary.body(), indent=2, ensure_ascii=False)}\n".encode(),
    }
    try:
        contents["summary.png"] = summary_png(summary)
    except MissingLibraryError as error:
        _LOG.warning("%s is left out: %s", target.file("summary.png"), error)
    for ending, content in contents.items():
        write_bytes(target.file(ending), content)
    return [target.file(ending) for ending in contents]
