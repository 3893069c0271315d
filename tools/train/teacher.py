"""The segmentation teacher: a TensorFlow Lite DeepLabV3 for ADE20K, run picture by picture to make soft targets.

It knows 32 classes: channel 0 is "everything else", channels 1..31 are the ADE20K ids 1..31. What is kept of it is
what the method keeps of any segmenter: per position the three best classes and their probabilities in 8 bits.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 72  # positions per side of the stored maps, as many as scene18's own map has
TOP = 3  # classes kept per position
CLASSES = 32
_INPUT_SIDE = 512
_LOGITS_SHAPE = (1, 128, 128, CLASSES)


class Teacher:
    """DeepLabV3 in 8 bits; `soft_map` gives its three best classes per position."""

    def __init__(self, model: Path, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

        # The file's only output is the arg-max, so every tensor is kept and the logits are read from inside.
        self._interpreter: Any = Interpreter(str(model), num_threads=threads, experimental_preserve_all_tensors=True)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._logits = _find_logits(self._interpreter.get_tensor_details())

    def soft_map(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Segment a picture (H, W, 3) uint8 RGB, whole and squashed to a square.

        Returns labels and scores, both (SIDE, SIDE, TOP) uint8, best first; a score is round(255 p).
        """
        square = cv2.resize(rgb, (_INPUT_SIDE, _INPUT_SIDE), interpolation=cv2.INTER_LINEAR)
        self._interpreter.set_tensor(self._input, square[None])
        self._interpreter.invoke()
        raw = self._interpreter.get_tensor(self._logits["index"])[0]
        scale, zero = self._logits["quantization"]
        probabilities = _softmax((raw.astype(np.float32) - zero) * scale)
        return top_classes(_shrink(probabilities))


def top_classes(probabilities: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The TOP best classes per position of (H, W, C) probabilities, and their scores in 8 bits."""
    best = np.argpartition(-probabilities, TOP, axis=-1)[..., :TOP]
    scores = np.take_along_axis(probabilities, best, axis=-1)
    order = np.argsort(-scores, axis=-1)
    labels = np.take_along_axis(best, order, axis=-1).astype(np.uint8)
    return labels, np.rint(255 * np.take_along_axis(scores, order, axis=-1)).astype(np.uint8)


def _find_logits(tensors: list[dict[str, Any]]) -> dict[str, Any]:
    found = [t for t in tensors if tuple(t["shape"]) == _LOGITS_SHAPE and str(t["name"]).startswith("logits/")]
    if len(found) != 1:
        raise ValueError(f"the teacher has {len(found)} tensors of logits {_LOGITS_SHAPE}, expected 1")
    return found[0]


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)


def _shrink(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps (128, 128, C) averaged by area to (SIDE, SIDE, C); `cv2.resize` takes four channels at a time."""
    fours = np.split(maps, CLASSES // 4, axis=-1)
    return np.concatenate([cv2.resize(four, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for four in fours], axis=-1)
