"""Which recordings a list of files and folders means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from streamer.errors import UserError
from tools.stems import same_stem

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv"}
    | {".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
_RESULT = ".annotated"


def find_videos(paths: Iterable[Path]) -> list[Path]:
    """The recordings that are meant: files as they are, folders by what they hold (not their subfolders).

    Results of `annotate` are not taken up again when their folder is named.

    Raises:
        UserError: a folder without recordings, or two recordings whose results would have the same names.
    """
    videos: dict[Path, Path] = {}
    for path in paths:
        for video in _in_folder(path) if path.is_dir() else [path]:
            videos.setdefault(video.resolve(), video)
    _check_stems(videos.values())
    return list(videos.values())


def _in_folder(folder: Path) -> list[Path]:
    inside = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    found = [path for path in inside if not path.stem.endswith(_RESULT) and not path.name.startswith(".")]
    if not found:
        raise UserError(f"{folder} holds no recordings ({', '.join(sorted(VIDEO_SUFFIXES))})")
    return found


def _check_stems(videos: Iterable[Path]) -> None:
    if pair := same_stem(videos):
        raise UserError(
            f"{pair[0]} and {pair[1]} would both become {pair[1].stem}{_RESULT}...; "
            "annotate them one by one with different -o folders, or rename one"
        )
