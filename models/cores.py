"""The processor: what it is called, and how many of its cores this process may use."""

from __future__ import annotations

import os
import platform


def usable_cores() -> int:
    """At least 1; on Linux those that the process is allowed, elsewhere all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """As its maker calls it, where Linux says so; else what Python knows of it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - streams, one line of it is read
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
