"""Networks and pure functions of Scene Streamer: tensors in, tensors out; no threads, sockets, video or downloads."""

from models.recognizer import Recognizer, load_recognizer

__all__ = ["Recognizer", "load_recognizer"]
