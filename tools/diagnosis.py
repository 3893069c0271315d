"""The checks behind `scene-streamer doctor`: each looks at one thing and says what it found."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from models.cores import usable_cores

_REINSTALL = "pip install --force-reinstall scene-streamer"


@dataclass(frozen=True)
class Finding:
    """The outcome of a check.

    Attributes:
        what: the thing that was looked at.
        verdict: `good`; `missing`: something optional is not there; `broken`: the main job cannot run.
        found: what there is, in words.
        remedy: what to do about it, empty if nothing.
    """

    what: str
    verdict: Literal["good", "missing", "broken"]
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def diagnose() -> list[Finding]:
    """Run all checks. A check that fails is a finding, never an exception."""
    return [finding for check in _CHECKS for finding in _guarded(check)]


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:  # a broken library shows itself in any way it likes; that is what doctor is for
        what = check.__name__.strip("_").replace("_", " ")
        return [Finding(what, "broken", f"{type(error).__name__}: {error}", _REINSTALL)]


def _machine() -> list[Finding]:
    cores = usable_cores()
    words = f"{platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}"
    return [Finding("machine", "good", words)]


def _libraries() -> list[Finding]:
    names = ("av", "opencv-python-headless", "openvino", "torch", "pyzmq", "msgpack", "numpy")
    return [Finding("libraries", "good", ", ".join(f"{name} {_version(name)}" for name in names))]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _openvino() -> list[Finding]:
    from models.openvino_library import ov

    core = ov.Core()
    devices = [f"{name} ({core.get_property(name, 'FULL_DEVICE_NAME')})" for name in core.available_devices]
    return [Finding("backend openvino", "good", ", ".join(devices))]


def _torch() -> list[Finding]:
    import torch

    if not torch.cuda.is_available():
        return [Finding("backend torch", "good", f"cpu ({torch.get_num_threads()} threads), no CUDA device")]
    count = torch.cuda.device_count()
    names = ", ".join(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count))
    return [Finding("backend torch", "good", f"cpu, {names}; on CUDA frames go up as they are and are resized there")]


def _onnxruntime() -> list[Finding]:
    if importlib.util.find_spec("onnxruntime") is None:
        return [Finding("backend onnxruntime", "missing", "not installed", "pip install 'scene-streamer[onnxruntime]'")]
    from models.backends import BACKENDS

    return [Finding("backend onnxruntime", "good", ", ".join(BACKENDS.load("onnxruntime").known_devices()))]


def _codecs() -> list[Finding]:
    import av

    findings = []
    for what, names, mode in (
        ("decoders", ("h264", "hevc", "vp9", "av1", "mjpeg", "prores"), "r"),
        ("encoders", ("libx264", "libx265", "libsvtav1"), "w"),
    ):
        there = [name for name in names if _has_codec(av, name, mode)]
        lacking = [name for name in names if name not in there]
        verdict: Any = "broken" if names[0] in lacking else "missing" if lacking else "good"
        words = ", ".join(there) + (f"; not: {', '.join(lacking)}" if lacking else "")
        findings.append(Finding(what, verdict, words, "pip install --upgrade av" if lacking else ""))
    return findings


def _hardware_decoding() -> list[Finding]:
    from streamer.sources._hardware import nvdec_fault

    fault = nvdec_fault()
    if fault is None:
        return [Finding("hardware decoding", "good", "NVDEC; --set capture.hardware_decoding=cuda uses it")]
    remedy = "install the driver, if there is an NVIDIA GPU"
    return [Finding("hardware decoding", "missing", f"{fault}; the processor decodes", remedy)]


def _has_codec(av: Any, name: str, mode: str) -> bool:
    try:
        av.Codec(name, mode)
    except Exception:  # PyAV's own error class moved between its versions
        return False
    return True


def _cameras() -> list[Finding]:
    devices = sorted(Path("/dev").glob("video*"))
    if not devices:
        return [Finding("cameras", "missing", "no /dev/video*", "plug in a USB camera, or use a file or rtsp://")]
    closed = [device for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    words = ", ".join(device.name for device in devices)
    if closed:
        return [Finding("cameras", "missing", f"{words}; no access to {closed[0]}", "sudo usermod -aG video $USER")]
    return [Finding("cameras", "good", words)]


def _packaged_models() -> list[Finding]:
    from models.package import find_package, packaged_models

    findings = []
    for name in packaged_models():
        package = find_package(name)
        size = sum(package.path(part).stat().st_size for part in package.manifest.files)
        words = f"{name} version {package.manifest.version}, {len(package.labels)} scenes, {size / 1e6:.1f} MB, intact"
        findings.append(Finding("model", "good", words))
    if not findings:
        return [Finding("model", "broken", "no packaged model", _REINSTALL)]
    return findings


def _demo_clip() -> list[Finding]:
    from tools.demo_clip import find_demo_clip

    clip = find_demo_clip()
    if clip is None:
        return [Finding("demo clip", "missing", "not installed", "pip install 'scene-streamer[demo]'")]
    return [Finding("demo clip", "good", clip.name)]


_CHECKS: tuple[Callable[[], list[Finding]], ...] = (
    _machine,
    _libraries,
    _openvino,
    _torch,
    _onnxruntime,
    _codecs,
    _hardware_decoding,
    _cameras,
    _packaged_models,
    _demo_clip,
)
