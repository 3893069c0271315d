"""Where what belongs to the user is kept: models that were pulled or imported, and downloads in the making."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$SCENE_STREAMER_CACHE`, else `scene-streamer` in `$XDG_CACHE_HOME` or `~/.cache`; it need not exist yet."""
    if own := os.environ.get("SCENE_STREAMER_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "scene-streamer"
