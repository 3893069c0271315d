"""`<stem>.ffmetadata`: a chapter a span, as FFmpeg reads it (https://ffmpeg.org/ffmpeg-formats.html#Metadata-2).

ffmpeg -i clip.mp4 -i clip.ffmetadata -map_metadata 1 -codec copy chaptered.mp4
"""

from __future__ import annotations

import re
from pathlib import Path

from streamer.files import write_bytes
from streamer.sinks.base import Target
from streamer.spans import SceneTimeline, Span
from tools.timeline.chapters import chapter_ticks, ticks_of
from tools.timeline.recording import Recording
from tools.timeline.words import title

_SPECIAL = re.compile(r"([=;#\\\n])")


def write(recording: Recording, target: Target) -> list[Path]:
    """Write the file; times count from the start of the video, as FFmpeg does when it reads it."""
    path = target.file("ffmetadata")
    write_bytes(path, _text(recording.timeline).encode())
    return [path]


def _text(timeline: SceneTimeline) -> str:
    base = ticks_of(timeline)

    def chapter(span: Span) -> str:
        start, end = chapter_ticks(span, base)
        times = f"TIMEBASE={base.numerator}/{base.denominator}\nSTART={start}\nEND={end}"
        return f"[CHAPTER]\n{times}\ntitle={escaped(title(span.scene))}\n"

    return ";FFMETADATA1\n" + "\n".join(map(chapter, timeline.spans))


def escaped(text: str) -> str:
    """`text` with a backslash before each character that means something in a file of metadata."""
    # FFmpeg takes any backslash before the end of a line for one that escapes it, an escaped one too.
    return _SPECIAL.sub(r"\\\1", text) + (" " if text.endswith("\\") else "")
