"""`<stem>.edl`: an event a span, as an edit list of the form CMX 3600 that editing programs import.

Source and record times are alike, so the events lie on a copy of the video as the spans do; the clip's name and the
scene stand in comments. The timecode is that of the video's frame rate, drop-frame at 29.97 and 59.94; a rate that
editing does not know, or that varies, becomes 25 frames a second. A list holds 999 events; timecode starts again
after a day.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from streamer.files import write_bytes
from streamer.sinks.base import Target
from streamer.spans import Span
from tools.timeline.recording import Recording
from tools.timeline.timecode import Timecode, timecode_for
from tools.timeline.words import title

_MOST_EVENTS = 999
_REEL_LENGTH = 8


def write(recording: Recording, target: Target) -> list[Path]:
    """Write the list, or as many as its events need: `<stem>.edl`, `<stem>.2.edl`..."""
    timeline = recording.timeline
    timecode = timecode_for(_rate(recording))
    clip = recording.film.path.name if recording.film else timeline.source
    events = [span for span in timeline.spans if timecode.frame(span.start) < timecode.frame(span.end)]
    paths = []
    for number, first in enumerate(range(0, max(1, len(events)), _MOST_EVENTS), 1):
        path = target.file("edl" if number == 1 else f"{number}.edl")
        text = _list(target.stem, events[first : first + _MOST_EVENTS], timecode, clip)
        write_bytes(path, text.encode("ascii", "replace"))
        paths.append(path)
    return paths


def _list(name: str, events: Sequence[Span], timecode: Timecode, clip: str) -> str:
    head = [f"TITLE: {_line(name)}", f"FCM: {'DROP FRAME' if timecode.drop else 'NON-DROP FRAME'}"]
    blocks = [_event(number, span, timecode, clip) for number, span in enumerate(events, 1)]
    return "\r\n".join([*head, "", *blocks, ""])


def _rate(recording: Recording) -> Fraction | None:
    """Frames per second; of the labels where there is no video to ask."""
    timeline = recording.timeline
    return recording.film.rate if recording.film else timeline.frames / timeline.duration


def _event(number: int, span: Span, timecode: Timecode, clip: str) -> str:
    start, end = timecode.text(timecode.frame(span.start)), timecode.text(timecode.frame(span.end))
    p = "" if span.p is None else f" {span.p:.2f}"
    return "\r\n".join(
        [
            f"{number:03d}  {reel_name(clip):<8} V     C        {start} {end} {start} {end}",
            f"* FROM CLIP NAME: {_line(clip)}",
            f"* COMMENT: SCENE {_line(title(span.scene))}{p}",
            "",
        ]
    )


def reel_name(clip: str) -> str:
    """A clip's name as a reel has it: at most eight letters and digits; AX, an unnamed source, if none is left."""
    return re.sub(r"[^A-Z0-9]", "", Path(clip).stem.upper())[:_REEL_LENGTH] or "AX"


def _line(text: str) -> str:
    return " ".join(text.split())
