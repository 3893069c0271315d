"""The root of every error that Scene Streamer raises; `streamer.errors` draws the whole tree."""

from __future__ import annotations


class SceneStreamerError(Exception):
    """Anything that goes wrong inside Scene Streamer."""


class UserError(SceneStreamerError):
    """A mistake that the user can mend: printed as one line that says what to do, without a traceback."""


class ConfigError(UserError):
    """A setting that does not exist or has a value it cannot have; names the file and the key path."""


class UnknownPluginError(UserError):
    """A plug-in name that no file answers to; the message lists the known names."""

    def __init__(self, what: str, name: str, known: list[str]) -> None:
        super().__init__(f"unknown {what} {name!r}; known: {', '.join(known)}")
        self.name = name
        self.known = known
