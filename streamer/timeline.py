"""The timeline of a recording: which scene stood from when to when, and where the cuts are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from streamer.sources.base import SourceInfo
from streamer.state import SceneState

VERSION = 1
"""Version of the timeline's form; grows when a reader of the old one would misread the new."""


@dataclass(slots=True)
class Stretch:
    """Consecutive frames with the same stable scene.

    Attributes:
        scene: its name.
        epoch: pts compare only within an epoch; a stretch never spans two.
        start_pts: pts of its first frame.
        end_pts: where it ends: the first pts of what follows; for the last one of an epoch an estimate, its last frame
            being taken to last as long as the one before.
        time_base: seconds per unit of pts.
        frames: how many frames.
        p_sum: sum of the smoothed probabilities of the scene.
        unknown: in how many of the frames no scene was probable enough to be believed.
    """

    scene: str
    epoch: int
    start_pts: int
    end_pts: int
    time_base: Fraction
    frames: int = 0
    p_sum: float = 0.0
    unknown: int = 0

    def body(self) -> dict[str, Any]:
        """The segment as it stands in the file; times in seconds of the stream, to the microsecond."""
        return {
            "scene": self.scene,
            "start_s": _seconds(self.start_pts, self.time_base),
            "end_s": _seconds(self.end_pts, self.time_base),
            "start_pts": self.start_pts,
            "end_pts": self.end_pts,
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            "epoch": self.epoch,
            "frames": self.frames,
            "p": round(self.p_sum / self.frames, 4),
            "unknown": round(self.unknown / self.frames, 4),
        }


class Timeline:
    """Gathers states, in order, into stretches of the same stable scene."""

    def __init__(self) -> None:
        self.stretches: list[Stretch] = []
        self.frames = 0
        self._cuts: list[dict[str, Any]] = []
        self._last: SceneState | None = None

    def add(self, state: SceneState) -> None:
        """Take the next state."""
        frame = state.frame
        stretch = self._stretch_for(state)
        stretch.frames += 1
        stretch.p_sum += state.p
        stretch.unknown += state.unknown
        stretch.end_pts = self._estimated_end(state)
        if state.cut:
            cut = {"pts": frame.pts, "s": _seconds(frame.pts, frame.time_base), "epoch": frame.epoch}
            self._cuts.append(cut)
        self.frames += 1
        self._last = state

    def body(self, source: SourceInfo) -> dict[str, Any]:
        """The whole timeline in JSON's types.

        `segments` follow each other without a gap within an epoch; `p` is the mean probability of the scene and
        `unknown` the share of frames in which no scene was believed.
        """
        body: dict[str, Any] = {
            "version": VERSION,
            "source": _source_body(source),
            "frames": self.frames,
            "segments": [stretch.body() for stretch in self.stretches],
            "cuts": self._cuts,
        }
        if self._last is not None:
            body["model"] = _model_body(self._last)
            body["smoother"] = dict(self._last.smoother)
        return body

    def _stretch_for(self, state: SceneState) -> Stretch:
        """The stretch that the state belongs to; a new one begins where the former ends."""
        frame = state.frame
        last = self.stretches[-1] if self.stretches else None
        same_time = last is not None and (last.epoch, last.time_base) == (frame.epoch, frame.time_base)
        if last is not None and same_time:
            last.end_pts = frame.pts
            if last.scene == state.scene:
                return last
        self.stretches.append(Stretch(state.scene, frame.epoch, frame.pts, frame.pts, frame.time_base))
        return self.stretches[-1]

    def _estimated_end(self, state: SceneState) -> int:
        frame, last = state.frame, self._last
        if last is None or (last.frame.epoch, last.frame.time_base) != (frame.epoch, frame.time_base):
            return frame.pts
        return 2 * frame.pts - last.frame.pts


def _seconds(pts: int, time_base: Fraction) -> float:
    return round(float(pts * time_base), 6)


def _source_body(source: SourceInfo) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": source.name,
        "uri": source.uri,
        "width": source.width,
        "height": source.height,
        "time_base": [source.time_base.numerator, source.time_base.denominator],
    }
    if source.frame_rate is not None:
        body["frame_rate"] = [source.frame_rate.numerator, source.frame_rate.denominator]
    return body


def _model_body(state: SceneState) -> dict[str, Any]:
    model = state.model
    body = {"name": model.name, "sha256": model.sha256, "labels_sha256": model.labels_sha256}
    return body if model.segmenter is None else body | {"segmenter": model.segmenter}
