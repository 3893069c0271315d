"""Errors of the models room; `streamer.errors` draws the whole tree."""

from __future__ import annotations

from config.errors import UserError


class ModelError(UserError):
    """A model that is missing, damaged, or does not fit what is asked of it."""
