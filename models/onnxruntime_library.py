"""ONNX Runtime without its telemetry; the rest of the project imports it from here.

Since version 1.29 it tells its maker of each process and of each network that it loads, unless this variable says no
before it is imported. A program that watches cameras must not. Who sets the variable to 0 beforehand has it anyway.
"""

from __future__ import annotations

import os

__all__ = ["onnxruntime"]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
