"""Files whose results would have the same names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def same_stem(files: Iterable[Path]) -> tuple[Path, Path] | None:
    """The first two files of one stem, without regard to case: some disks have none. None if all differ."""
    seen: dict[str, Path] = {}
    for file in files:
        other = seen.setdefault(file.stem.casefold(), file)
        if other is not file:
            return other, file
    return None
