"""Networks and pure functions of Scene Streamer: tensors in, tensors out; no threads, sockets, video or downloads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.recognizer import Recognizer, load_recognizer

__all__ = ["Recognizer", "load_recognizer"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: a subscriber needs the shape of a prediction, not the networks.
    if name in __all__:
        from models import recognizer

        return getattr(recognizer, name)
    raise AttributeError(f"module 'models' has no attribute {name!r}")
