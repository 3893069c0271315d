"""The live pipeline: sources, channels, the inference worker, smoothing over time, the bus and the sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.app import open_stream
    from streamer.state import SceneState

__all__ = ["SceneState", "open_stream"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: a subscriber that imports `streamer.client` needs neither networks nor video.
    if name == "open_stream":
        from streamer.app import open_stream

        return open_stream
    if name == "SceneState":
        from streamer.state import SceneState

        return SceneState
    raise AttributeError(f"module 'streamer' has no attribute {name!r}")
