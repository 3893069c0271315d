"""What the networks said of every frame of an unfinished job, kept on disk so that the job can go on exactly there.

Smoothers are plug-ins whose state nobody else knows; so a resumed job does not restore a state but recalls the past:
the recorded observations go through a fresh `Track`, which takes microseconds a frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from models import transitions
from models.prediction import FloatArray, Prediction
from models.transitions import TRANSITION_NAMES, Transition
from streamer.errors import OutputError
from streamer.files import output_errors, to_disk
from streamer.frame import Frame
from streamer.sources.base import Mark
from streamer.state import Drops, SceneState
from streamer.track import Track

_NO_PICTURE = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Moment:
    """What is to be remembered of one state; attributes as in `History`. It keeps no picture alive."""

    time_base: Fraction
    pts: int
    epoch: int
    transition: tuple[int, ...]
    decode_drops: int
    probabilities: FloatArray
    p_unknown: float

    @classmethod
    def of(cls, state: SceneState) -> Moment:
        """The moment of a state."""
        frame, unknown = state.frame, state.prediction.p_unknown
        return cls(
            frame.time_base,
            frame.pts,
            frame.epoch,
            _row_of(state.transition),
            state.drops.decode,
            state.prediction.probabilities.copy(),  # not a row that keeps its whole batch
            np.nan if unknown is None else unknown,
        )


@dataclass(frozen=True, slots=True)
class History:
    """The observations of consecutive frames.

    Attributes:
        time_base: (2,) int64, numerator and denominator of the seconds per unit of pts.
        pts: (N,) int64.
        epochs: (N,) int32.
        transitions: (N, 5) int64: kind of the transition that is told with the frame (0 for none, else 1 + its place
            in `TRANSITION_NAMES`), number and pts of the frame at its start, and of that at its end.
        decode_drops: (N,) int64, pictures given up by the decoder so far.
        probabilities: (N, C) float32, of each frame alone.
        p_unknown: (N,) float64; NaN where the model has no such.
    """

    time_base: NDArray[np.int64]
    pts: NDArray[np.int64]
    epochs: NDArray[np.int32]
    transitions: NDArray[np.int64]
    decode_drops: NDArray[np.int64]
    probabilities: FloatArray
    p_unknown: NDArray[np.float64]

    @classmethod
    def of(cls, moments: Sequence[Moment]) -> History:
        """The history of consecutive frames, one or more."""
        base = moments[0].time_base
        return cls(
            np.array([base.numerator, base.denominator], np.int64),
            np.array([moment.pts for moment in moments], np.int64),
            np.array([moment.epoch for moment in moments], np.int32),
            np.array([moment.transition for moment in moments], np.int64),
            np.array([moment.decode_drops for moment in moments], np.int64),
            np.stack([moment.probabilities for moment in moments]),
            np.array([moment.p_unknown for moment in moments], np.float64),
        )

    @classmethod
    def read(cls, path: Path) -> History:
        """Raises OutputError: the file is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(**{name: arrays[name] for name in cls.__slots__})
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise OutputError(f"{path} is damaged, so the job cannot be resumed; --restart does it anew") from error

    def write(self, path: Path) -> None:
        """Write it so that it survives a power cut. Raises OutputError."""
        with output_errors(path):
            np.savez(path, **{name: getattr(self, name) for name in self.__slots__})
            to_disk(path)

    def __len__(self) -> int:
        return len(self.pts)


class Memory:
    """The histories of all segments that are done, one after the other.

    Args:
        histories: one or more.
    """

    def __init__(self, histories: Sequence[History]) -> None:
        self._histories = histories
        self._pts = np.concatenate([history.pts for history in histories])
        self._epochs = np.concatenate([history.epochs for history in histories])
        self._drops = np.concatenate([history.decode_drops for history in histories])

    def __len__(self) -> int:
        return len(self._pts)

    def frames_within(self, seconds: float) -> int:
        """How many of the last frames lie within so much time of the stream, in one epoch."""
        last = self._histories[-1]
        base = Fraction(int(last.time_base[0]), int(last.time_base[1]))
        near = (self._pts >= self._pts[-1] - round(seconds / base)) & (self._epochs == self._epochs[-1])
        return int(near.sum())

    def mark(self, number: int) -> Mark:
        """The frame with that number, from 0 on; negative ones count from the end."""
        number = number % len(self)
        return Mark(int(self._pts[number]), int(self._epochs[number]), number, int(self._drops[number]))

    def recall(self, track: Track, source: str, labels: tuple[str, ...]) -> Iterator[SceneState]:
        """Lead a fresh track through all frames; gives the states that an unbroken run had, without pictures."""
        number = 0
        for history in self._histories:
            base = Fraction(int(history.time_base[0]), int(history.time_base[1]))
            for i in range(len(history)):
                frame = Frame(_NO_PICTURE, int(history.pts[i]), base, number, source, int(history.epochs[i]), 0, "file")
                unknown = float(history.p_unknown[i])
                prediction = Prediction(
                    history.probabilities[i], labels, p_unknown=None if np.isnan(unknown) else unknown
                )
                drops = Drops(decode=int(history.decode_drops[i]))
                yield track.recall(frame, prediction, drops, _transition_of(history.transitions[i], base))
                number += 1


def _row_of(transition: Transition | None) -> tuple[int, ...]:
    """A row of `History.transitions`."""
    if transition is None:
        return (0, 0, 0, 0, 0)
    start, end = transition.start, transition.end
    return 1 + TRANSITION_NAMES.index(transition.kind), start.frame_id, start.pts, end.frame_id, end.pts


def _transition_of(row: NDArray[np.int64], base: Fraction) -> Transition | None:
    kind, *numbers = (int(value) for value in row)
    if kind == 0:
        return None
    start, end = (transitions.Moment(frame_id, pts, float(pts * base)) for frame_id, pts in (numbers[:2], numbers[2:]))
    return Transition(TRANSITION_NAMES[kind - 1], start, end)
