"""`<stem>.chapters.vtt`: a chapter a span, as WebVTT (https://www.w3.org/TR/webvtt1/) for `<track kind="chapters">`."""

from __future__ import annotations

from pathlib import Path

from streamer.files import write_bytes
from streamer.sinks.base import Target
from streamer.spans import Span
from tools.timeline.recording import Recording
from tools.timeline.words import clock, milliseconds, title


def write(recording: Recording, target: Target) -> list[Path]:
    """Write the file; times are those of a browser, which is what plays it."""
    cues = [_cue(number, span) for number, span in enumerate(recording.browser_timeline.spans, 1)]
    path = target.file("chapters.vtt")
    write_bytes(path, "\n\n".join(["WEBVTT", *cues, ""]).encode())
    return [path]


def _cue(number: int, span: Span) -> str:
    start = milliseconds(span.start)
    # A cue must take time, even a frame of less than half a millisecond.
    end = max(milliseconds(span.end), start + 1)
    return f"{number}\n{clock(start)} --> {clock(end)}\n{escaped(title(span.scene))}"


def escaped(text: str) -> str:
    """`text` as the payload of a cue: one line, without markup; "-->" would begin a new cue."""
    line = " ".join(text.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
