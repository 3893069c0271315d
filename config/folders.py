"""The user's folders: the home that `~` means, and where pulled and imported models are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$SCENE_STREAMER_CACHE`, else `scene-streamer` in `$XDG_CACHE_HOME` or `~/.cache`; it need not exist yet."""
    if own := os.environ.get("SCENE_STREAMER_CACHE"):
        return expanded(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "scene-streamer"


def expanded(path: str) -> Path:
    """`path` with `~` or `~user` at its start replaced; as in a shell, a user who does not exist stays as written."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
