"""The baseline: what one would write without this package, a loop around `cv2.VideoCapture` in eager PyTorch.

Read a frame, segment it with UPerNet-50 at 320x416, keep its three best classes a pixel, spread them over a dense
tensor of 152 channels, run the two-branch ResNet-18, compress the frame, send both. It uses none of our capture,
preprocessing, encoding or publishing and is kept plain for ever, so that ratios to it can be compared over the years.
The weights are random, drawn as the reference's golden networks are: they change no time.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import zmq
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from config.errors import UserError
from models.classifiers.two_branch import TwoBranchNet
from tools.benchmark.figures import Spread, spread
from tools.benchmark.plain_upernet import PlainUPerNet

_SEGMENTER_SIZE = (320, 416)  # height, width
_SIDE = 224
_CHANNELS = 152
_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
_WARM_UP = 1


@dataclass(frozen=True, slots=True)
class Baseline:
    """The loop's time, by part and whole, over its frames.

    Attributes:
        frames: how many were timed.
        threads: of PyTorch.
        segment_s, classify_s, frame_s: seconds a frame; classifying includes the dense tensor.
        fps: one over the median of `frame_s`.
    """

    frames: int
    threads: int
    segment_s: Spread
    classify_s: Spread
    frame_s: Spread
    fps: float


def measure_baseline(uri: str, frames: int) -> Baseline:
    """Run the loop on a recording's first frames, after one to warm up.

    Raises:
        UserError: it is no file that OpenCV reads, or has too few frames.
    """
    if not Path(uri).is_file():
        raise UserError(f"the baseline loop reads recordings, and {uri} is no file; use --resize to make it one")
    loop = PlainLoop()
    capture = cv2.VideoCapture(uri)
    try:
        times = [loop.step(_read(capture, uri, number)) for number in range(_WARM_UP + frames)][_WARM_UP:]
    finally:
        capture.release()
        loop.close()
    whole = spread([sum(parts) for parts in times], 4)
    return Baseline(
        frames=frames,
        threads=torch.get_num_threads(),
        segment_s=spread([parts[1] for parts in times], 4),
        classify_s=spread([parts[2] for parts in times], 4),
        frame_s=whole,
        fps=round(1 / whole.median, 3),
    )


def _read(capture: cv2.VideoCapture, uri: str, number: int) -> tuple[NDArray[np.uint8], float]:
    """A frame, H×W×3 BGR, and how long reading it took."""
    began_s = time.perf_counter()
    good, frame = capture.read()
    if not good:
        raise UserError(f"OpenCV reads {number} frames of {uri}; the baseline loop needs more (--baseline-frames)")
    return np.asarray(frame, np.uint8), time.perf_counter() - began_s


class PlainLoop:
    """The loop's body, with its networks and its socket."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.segmenter = _drawn(PlainUPerNet(), generator)
        self.classifier = _drawn(TwoBranchNet("resnet18"), generator)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.bind("tcp://127.0.0.1:*")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)
        self._context.term()

    def step(self, read: tuple[NDArray[np.uint8], float]) -> tuple[float, float, float, float]:
        """Do a frame's work; seconds of reading, segmenting, classifying, compressing and sending."""
        frame, read_s = read
        clock = [time.perf_counter()]
        rgb = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
        probabilities = self.segment(rgb)
        clock.append(time.perf_counter())
        scene = self.classify(rgb, probabilities).softmax(1)[0]
        clock.append(time.perf_counter())
        p, index = scene.max(0)
        _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 80])
        self._socket.send_multipart([json.dumps({"scene": int(index), "p": float(p)}).encode(), data.tobytes()])
        clock.append(time.perf_counter())
        return read_s, clock[1] - clock[0], clock[2] - clock[1], clock[3] - clock[2]

    @torch.no_grad()
    def segment(self, rgb: NDArray[np.uint8]) -> Tensor:
        """Probabilities (1, 150, 320, 416) of a frame, H×W×3 RGB."""
        probabilities: Tensor = self.segmenter(_tensor(rgb, *_SEGMENTER_SIZE), _SEGMENTER_SIZE)
        return probabilities

    @torch.no_grad()
    def classify(self, rgb: NDArray[np.uint8], probabilities: Tensor) -> Tensor:
        """Logits (1, 365) of a frame, H×W×3 RGB, with its segmentation."""
        logits: Tensor = self.classifier(_tensor(rgb, _SIDE, _SIDE), dense_tensor(probabilities)).scene
        return logits


def dense_tensor(probabilities: Tensor) -> Tensor:
    """(1, 152, 224, 224): the three best of 150 classes of each pixel at channel class + 1, all else 0."""
    scores, labels = probabilities.topk(3, 1)
    scores = F.interpolate(scores, (_SIDE, _SIDE), mode="bilinear", align_corners=False)
    labels = F.interpolate(labels.float(), (_SIDE, _SIDE), mode="nearest").long()
    dense = torch.zeros(1, _CHANNELS, _SIDE, _SIDE)
    for k in range(3):
        dense.scatter_(1, labels[:, k : k + 1] + 1, scores[:, k : k + 1])
    return dense


def _tensor(rgb: NDArray[np.uint8], height: int, width: int) -> Tensor:
    """(1, 3, height, width), normalised."""
    resized = cv2.resize(rgb, (width, height))
    return (torch.from_numpy(resized).permute(2, 0, 1)[None].float() / 255 - _MEAN) / _STD


def _drawn(network: nn.Module, generator: torch.Generator) -> nn.Module:
    """Random weights under which signals neither grow without end nor get so small that arithmetic is slow."""
    state = network.state_dict()
    for key, value in state.items():
        if value.ndim == 0:
            continue
        noise = torch.randn(value.shape, generator=generator)
        if key.endswith("running_var"):
            value.copy_(1 + 0.1 * noise.abs())
        elif key.endswith(("running_mean", "bias")):
            value.copy_(0.05 * noise)
        elif value.ndim == 1:
            value.copy_(1 + 0.1 * noise)
        else:
            class_layer = value.ndim == 4 and value.shape[0] == 150
            value.copy_(noise * (2 / value[0].numel()) ** 0.5 * (0.02 if class_layer else 1))
    return network.eval()
