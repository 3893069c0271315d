"""OpenVINO without its telemetry; the rest of the project imports it from here.

Imported plainly, it sends a word of each start and of each conversion to a web analytics service, unless the user has
said no to it beforehand. A program that watches cameras must not. Where its telemetry cannot be imported, OpenVINO does
without.
"""

from __future__ import annotations

import sys

__all__ = ["ov"]

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
