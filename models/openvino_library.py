"""OpenVINO without its telemetry; the rest of the project imports it from here.

Imported plainly, it sends a word of each start and of each conversion to a web analytics service, unless the user has
said no to it beforehand. A program that watches cameras must not. Where its telemetry cannot be imported, OpenVINO does
without.
"""

from __future__ import annotations

import sys
from functools import cache

__all__ = ["cpu_has_bfloat16", "ov"]

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

# A tensor's first look at its data fills a static variable of the library and lets go of Python's lock meanwhile. Two
# threads that come there first wait for each other for ever, one for each of the two. So it happens here, once.
_ = ov.Tensor(ov.Type.u8, ov.Shape([1])).data


@cache
def cpu_has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16.

    torch's own answer is yes on every CPU with AVX-512, where it emulates bfloat16 at half the speed of float32.
    """
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
