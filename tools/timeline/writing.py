"""A file of labels becomes files of a timeline, in the formats that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from config.errors import ConfigError
from streamer.sinks.base import Target
from tools.timeline.formats import FORMATS
from tools.timeline.recording import Recording, read_recording

ALL = "all"


def format_names(text: str) -> tuple[str, ...]:
    """The formats that an option names: "csv,vtt", or "all".

    Raises:
        ConfigError: it names none.
        UnknownPluginError: there is no such format; the message lists those there are.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ConfigError(f"no format named; choose from {', '.join(FORMATS.names())}, or {ALL}")
    if names == (ALL,):
        return tuple(FORMATS.names())
    for name in names:
        FORMATS.check(name)
    return names


def write_timeline_files(
    labels: Path, video: Path | None, directory: Path, stem: str, formats: Sequence[str], source: str | None = None
) -> list[Path]:
    """Write the timeline of recorded labels.

    Args:
        labels: a file of labels (see `streamer.label_file`).
        video: the video that they belong to, for thumbnails, the page and the frame rate; None does without.
        directory: where the files go; made if need be.
        stem: how their names begin.
        formats: names of `FORMATS`.
        source: whose labels, where the file has those of several sources.

    Returns:
        The files, in the order of the formats.

    Raises:
        LabelFileError: the labels cannot be used.
        SourceError: the video cannot be read.
        OutputError: a file cannot be written; those before it are there, and whole.
        MissingLibraryError: a format needs a library that is not installed.
    """
    return write_recording(read_recording(labels, video, source), directory, stem, formats)


def write_recording(recording: Recording, directory: Path, stem: str, formats: Sequence[str]) -> list[Path]:
    """Write what was read already, as `write_timeline_files` does."""
    target = Target(directory, stem)
    modules = [FORMATS.load(name) for name in formats]
    return [path for module in modules for path in module.write(recording, target)]


def stem_of(labels: Path) -> str:
    """How the names of a timeline's files begin: `clip` for `clip.labels.jsonl`, as `annotate` names them."""
    name = labels.name.removesuffix(".jsonl").removesuffix(".mcap").removesuffix(".labels")
    return name or labels.name
