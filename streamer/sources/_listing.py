"""Which files are pictures, and in which order a folder or a glob gives them."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from config.folders import expanded

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)


def is_picture(path: Path) -> bool:
    """Whether the name ends like a picture's. GIFs count as videos: they move."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def is_glob(text: str) -> bool:
    """Whether `text` has wildcards."""
    return glob.has_magic(text)


def find_pictures(target: str) -> list[Path]:
    """The pictures of a folder (not of its subfolders), of a glob, or the single one, sorted as people count.

    Args:
        target: path of a folder or a picture, or a glob; `**` stands for any depth of folders. A name that exists is
            that file or folder, wildcards in it or not.
    """
    path = expanded(target)
    if path.is_dir():
        found = list(path.iterdir())
    elif path.exists():
        return [path]
    else:
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (absolute globs too)
    return sorted((p for p in found if is_picture(p) and p.is_file()), key=natural_key)


def natural_key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key by which `frame2` comes before `frame10`; the plain path decides between equals."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts], str(path)
