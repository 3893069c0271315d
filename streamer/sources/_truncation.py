"""Does a recording hold all that its own index announces? FFmpeg ends such files as if nothing were missing."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from av.container import InputContainer
from av.video.stream import VideoStream

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


def announced_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """Frames that the file should hold if its end is missing, 0 if it does not say how many; None if it is whole.

    Args:
        container: read to the end, still open.
        stream: its video stream.
    """
    kind, size = container.format.name, container.size
    if size <= 0:  # a pipe, or a server that does not say
        return None
    if "mp4" in kind:
        # Exact, edit lists and fragments included: the index says where every frame's bytes lie.
        entries = [entry for entry in stream.index_entries if not entry.is_discard]
        return len(entries) if any(e.pos + e.size > size for e in entries) else None
    path = Path(container.name.removeprefix("file:"))
    if kind == "avi":
        return stream.frames if _exceeds(_riff_end, path) else None
    if "matroska" in kind:
        return 0 if _exceeds(_segment_end, path) else None
    return None


def has_exact_packets(format_name: str) -> bool:
    """Whether such files know the length of their packets, so that a packet marked as damaged is one cut short."""
    return "mp4" in format_name or format_name == "avi"


def lacks_index(path: Path) -> bool:
    """Whether this is an MP4 without a moov box: recorded, but never closed, or cut."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            boxes = _boxes(file, path.stat().st_size)
    except OSError:
        return False
    return boxes[:1] == [b"ftyp"] and b"moov" not in boxes


def _boxes(file: BinaryIO, size: int) -> list[bytes]:
    kinds: list[bytes] = []
    at = 0
    while at + 8 <= size and len(kinds) < 1000:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        kinds.append(kind)
        if length < 8:  # 0: to the end of the file
            break
        at += length
    return kinds


def _exceeds(end_of: Callable[[BinaryIO], int | None], path: Path) -> bool:
    try:
        with path.open("rb") as file:
            end = end_of(file)
    except OSError:
        return False
    return end is not None and end > path.stat().st_size


def _riff_end(file: BinaryIO) -> int | None:
    """Where the first RIFF chunk of an AVI ends, if it says."""
    head = file.read(8)
    if len(head) < 8 or head[:4] != b"RIFF":
        return None
    length = int.from_bytes(head[4:], "little")
    return None if length in (0, 0xFFFFFFFF) else 8 + length


def _segment_end(file: BinaryIO) -> int | None:
    """Where the Segment of a Matroska file ends, if it says (a recording in progress does not)."""
    head = file.read(4096)
    at = 0
    for wanted in (_EBML, _SEGMENT):
        if int.from_bytes(head[at : at + 4], "big") != wanted or len(head) < at + 5:
            return None
        # A length is a number of 1 to 8 bytes; the leading zero bits of the first say how many.
        width = 9 - head[at + 4].bit_length()
        length = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
        at += 4 + width
        if wanted == _SEGMENT:
            return None if length == (1 << 7 * width) - 1 else at + length
        at += length
    return None
