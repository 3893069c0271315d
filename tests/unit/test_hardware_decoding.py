"""Decoding by a GPU where there is one; where there is none, the processor decodes and the log says so once."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest

from config.schema import CaptureSettings
from streamer.address import open_source
from streamer.sources import _hardware
from streamer.sources._hardware import accelerator, nvdec_fault

no_gpu = pytest.mark.skipif(nvdec_fault() is None, reason="this computer has an NVIDIA decoder")
needs_gpu = pytest.mark.skipif(nvdec_fault() is not None, reason="needs an NVIDIA decoder")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return written(tmp_path / "clip.mp4", "libx264")


def written(path: Path, codec: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(8):
            image = np.full((240, 320, 3), 30 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def images(clip: Path, wanted: str) -> list[np.ndarray]:
    source = open_source(str(clip), None, CaptureSettings(hardware_decoding=wanted))
    source.open()
    try:
        return [frame.image for frame in source.frames()]
    finally:
        source.close()


@no_gpu
def test_without_a_gpu_the_processor_decodes_and_the_log_says_so_once(clip, caplog) -> None:
    _hardware._report.cache_clear()
    with caplog.at_level(logging.WARNING):
        found = [images(clip, "cuda"), images(clip, "cuda")]
    for frames in found:
        np.testing.assert_array_equal(frames, images(clip, "off"))
    (record,) = [r for r in caplog.records if r.name == _hardware.__name__]
    assert "decoded by the processor" in record.message


def test_a_codec_that_no_gpu_decodes_is_named_once(tmp_path, caplog, monkeypatch) -> None:
    _hardware._report.cache_clear()
    monkeypatch.setattr(_hardware, "nvdec_fault", lambda: None)
    clip = written(tmp_path / "clip.mkv", "ffv1")
    with caplog.at_level(logging.WARNING):
        found = [images(clip, "cuda"), images(clip, "cuda")]
        assert len(images(clip, "auto")) == 8
    for frames in found:
        np.testing.assert_array_equal(frames, images(clip, "off"))
    (record,) = [r for r in caplog.records if r.name == _hardware.__name__]
    assert "does not take ffv1; videos are decoded by the processor" in record.message


@no_gpu
def test_auto_falls_back_silently(clip, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(images(clip, "auto")) == 8
    assert not caplog.records


def test_off_asks_nothing(monkeypatch) -> None:
    monkeypatch.setattr(_hardware, "nvdec_fault", lambda: pytest.fail("looked for a GPU"))
    assert accelerator("off") is None


@needs_gpu
def test_a_gpu_decodes_the_same_pictures(clip) -> None:
    for one, other in zip(images(clip, "cuda"), images(clip, "off"), strict=True):
        assert np.abs(one.astype(int) - other).max() <= 3
