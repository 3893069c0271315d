"""The timeline of a recording: which scene stood from when to when, and where the cuts are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from streamer.sources.base import SourceInfo
from streamer.spans import Cut, Moment, SceneTimeline, Span, SpanGatherer
from streamer.state import ModelIdentity, SceneState

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
    """Gathers states, in order, into stretches of the same stable scene and into spans of what is believed."""

    def __init__(self) -> None:
        self.stretches: list[Stretch] = []
        self._spans = SpanGatherer()
        self._last: Moment | None = None
        self._model: dict[str, Any] = {}
        self._smoother: dict[str, Any] = {}

    @property
    def frames(self) -> int:
        """How many frames were taken."""
        return self._spans.frames

    def add(self, state: SceneState) -> None:
        """Take the next state."""
        self._model, self._smoother = _model_body(state.model), dict(state.smoother)
        self.add_moment(Moment.of(state))

    def add_moment(self, moment: Moment) -> Fraction:
        """Take the next moment, where there is no state but a label that was written down.

        Returns:
            Its time in the film, in seconds from the first frame.

        Raises:
            ValueError: its pts is not larger than the last one's of its epoch.
        """
        at = self._spans.add(moment)
        stretch = self._stretch_for(moment)
        stretch.frames += 1
        stretch.p_sum += moment.p
        stretch.unknown += moment.unknown
        stretch.end_pts = self._estimated_end(moment)
        self._last = moment
        return at

    def spans(self, source: str, model: Mapping[str, Any] | None = None) -> SceneTimeline:
        """The spans and cuts so far; ValueError if nothing was taken.

        Args:
            source: the source's name.
            model: as in label messages.
        """
        return self._spans.timeline(source, model)

    def body(
        self, source: SourceInfo | str, model: dict[str, Any] | None = None, smoother: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The whole timeline in JSON's types.

        `segments` follow each other without a gap within an epoch; `p` is the mean probability of the scene and
        `unknown` the share of frames in which no scene was believed. `spans` (see `streamer.spans`) also tell when that
        was; `at_s` is their time in the film, from the first frame on. `cuts` have the first frame of the next picture
        and, of fades and dissolves, `start_*`: the last frame of the former one.

        Args:
            source: what is known of the source; its name if that is all.
            model, smoother: as in label messages; those of the states unless given.
        """
        body: dict[str, Any] = {
            "version": VERSION,
            "source": {"name": source} if isinstance(source, str) else _source_body(source),
            "frames": self.frames,
            "segments": [stretch.body() for stretch in self.stretches],
        }
        if self.frames:
            body |= spans_body(self.spans(body["source"]["name"]))
        spoken = {"model": model or self._model, "smoother": smoother or self._smoother}
        return body | {key: value for key, value in spoken.items() if value}

    def _stretch_for(self, moment: Moment) -> Stretch:
        """The stretch that the moment belongs to; a new one begins where the former ends."""
        last = self.stretches[-1] if self.stretches else None
        same_time = self._last is not None and self._last.part == moment.part
        if last is not None and same_time:
            last.end_pts = moment.pts
            if last.scene == moment.stable:
                return last
        self.stretches.append(Stretch(moment.stable, moment.epoch, moment.pts, moment.pts, moment.time_base))
        return self.stretches[-1]

    def _estimated_end(self, moment: Moment) -> int:
        last = self._last
        return moment.pts if last is None or last.part != moment.part else 2 * moment.pts - last.pts


def spans_body(timeline: SceneTimeline) -> dict[str, Any]:
    """The keys `duration_s`, `longest_gap_s`, `cuts` and `spans` of a timeline's file."""
    return {
        "duration_s": _rounded(timeline.duration),
        "longest_gap_s": _rounded(timeline.longest_gap),
        "cuts": [_cut_body(cut, timeline.start) for cut in timeline.cuts],
        "spans": [_span_body(span, timeline.start) for span in timeline.spans],
    }


def _span_body(span: Span, start: Fraction) -> dict[str, Any]:
    body = {
        "scene": span.scene,
        "at_s": _rounded(span.start - start),
        "duration_s": _rounded(span.duration),
        "start_s": _seconds(span.start_pts, span.time_base),
        "end_s": _seconds(span.end_pts, span.time_base),
        "start_pts": span.start_pts,
        "end_pts": span.end_pts,
        "time_base": [span.time_base.numerator, span.time_base.denominator],
        "epoch": span.epoch,
        "part": span.part,
        "frames": span.frames,
    }
    return body if span.p is None else body | {"p": round(span.p, 4)}


def _cut_body(cut: Cut, start: Fraction) -> dict[str, Any]:
    body = {
        "kind": cut.kind,
        "frame_id": cut.frame_id,
        "pts": cut.pts,
        "time_base": [cut.time_base.numerator, cut.time_base.denominator],
        "s": _seconds(cut.pts, cut.time_base),
        "at_s": _rounded(cut.at - start),
        "epoch": cut.epoch,
    }
    if cut.start_pts is not None and cut.start is not None:
        body |= {
            "start_frame_id": cut.start_frame_id,
            "start_pts": cut.start_pts,
            "start_s": _seconds(cut.start_pts, cut.time_base),
            "start_at_s": _rounded(cut.start - start),
        }
    return {key: value for key, value in body.items() if value is not None}


def _rounded(seconds: Fraction) -> float:
    return round(float(seconds), 6)


def _seconds(pts: int, time_base: Fraction) -> float:
    return _rounded(pts * time_base)


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


def _model_body(model: ModelIdentity) -> dict[str, Any]:
    """Which model spoke, as in label messages."""
    body = {"name": model.name, "sha256": model.sha256, "labels_sha256": model.labels_sha256}
    return body if model.segmenter is None else body | {"segmenter": model.segmenter}
