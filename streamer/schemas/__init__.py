"""JSON Schemas (draft 2020-12) of the bus's bodies, protocol version 1: `label`, `event`, `heartbeat`, `frame`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAMES = ("event", "frame", "heartbeat", "label")


def load(name: str) -> dict[str, Any]:
    """The schema called `name`, one of `NAMES`; ValueError for another."""
    if name not in NAMES:
        raise ValueError(f"no schema {name!r}; known: {', '.join(NAMES)}")
    text = (Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
