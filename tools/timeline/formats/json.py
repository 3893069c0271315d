"""`<stem>.timeline.json`: everything, for programs; the form is that of `annotate` (see `streamer.timeline`)."""

from __future__ import annotations

import json
from pathlib import Path

from streamer.encoding import plain
from streamer.files import write_bytes
from streamer.sinks.base import Target
from tools.timeline.recording import Recording


def write(recording: Recording, target: Target) -> list[Path]:
    """Write the file."""
    text = json.dumps(plain(recording.body), indent=2, ensure_ascii=False, allow_nan=False)
    path = target.file("timeline.json")
    write_bytes(path, f"{text}\n".encode())
    return [path]
