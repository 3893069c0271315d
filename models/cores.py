"""How many CPU cores this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """At least 1; on Linux those that the process is allowed, elsewhere all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
