"""What the figures were had on: hardware, versions, and how busy the machine was."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from models.cores import processor_name, usable_cores

_LIBRARIES = ("scene-streamer", "openvino", "torch", "av", "numpy", "opencv-python-headless", "pyzmq")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, load, and the versions of what takes the time."""
    found = {
        "processor": processor_name(),
        "cores": usable_cores(),
        "memory_gb": _memory_gb(),
        "load_1_min": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in _LIBRARIES},
    }
    return {key: value for key, value in found.items() if value is not None}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _memory_gb() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("MemTotal:")), None)
    return None if kilobytes is None else round(int(kilobytes) / 1e6, 1)
