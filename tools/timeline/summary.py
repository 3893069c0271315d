"""The summary of a timeline: share of time per scene, transitions, longest stays. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from streamer.spans import SceneTimeline, Span

STAYS = 10
"""How many of the longest stays are named."""


@dataclass(frozen=True, slots=True)
class SceneShare:
    """How much of the time a scene has.

    Attributes:
        scene: its name; None for the time in which none was believed.
        seconds: its time.
        share: of the whole time, 0..1.
        spans: in how many pieces.
        longest: the longest of them, in seconds.
        p: mean probability, each span counted by its time; None where the model does not say.
    """

    scene: str | None
    seconds: Fraction
    share: float
    spans: int
    longest: Fraction
    p: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a timeline comes down to.

    Attributes:
        timeline: what it is of.
        shares: of each scene, the largest first.
        transitions: how often one scene gave way to another: (from, to) -> count. Where a part of the stream ends and
            another begins, nothing gave way.
        stays: the longest spans, the longest first.
    """

    timeline: SceneTimeline
    shares: tuple[SceneShare, ...]
    transitions: Counter[tuple[str | None, str | None]]
    stays: tuple[Span, ...]

    def body(self) -> dict[str, Any]:
        """The summary in JSON's types; null is the time without a scene."""
        timeline = self.timeline
        scenes = [share.scene for share in self.shares]
        return {
            "source": timeline.source,
            "duration_s": _seconds(timeline.duration),
            "frames": timeline.frames,
            "longest_gap_s": _seconds(timeline.longest_gap),
            "spans": len(timeline.spans),
            "cuts": len(timeline.cuts),
            "model": dict(timeline.model),
            "scenes": [_share_body(share) for share in self.shares],
            "transitions": {
                "scenes": scenes,
                "counts": [[self.transitions[before, after] for after in scenes] for before in scenes],
            },
            "longest_stays": [
                {"scene": s.scene, "start_s": _seconds(s.start), "end_s": _seconds(s.end), "s": _seconds(s.duration)}
                for s in self.stays
            ],
        }


def summarise(timeline: SceneTimeline) -> Summary:
    """The summary of a timeline."""
    shares = [_share(scene, timeline) for scene in timeline.scenes]
    pairs = ((a.scene, b.scene) for a, b in pairwise(timeline.spans) if a.part == b.part)
    stays = sorted(timeline.spans, key=lambda span: (-span.duration, span.start))[:STAYS]
    by_time = sorted(shares, key=lambda share: -share.seconds)
    return Summary(timeline, tuple(by_time), Counter(pairs), tuple(stays))


def _share(scene: str | None, timeline: SceneTimeline) -> SceneShare:
    spans = [span for span in timeline.spans if span.scene == scene]
    seconds = sum((span.duration for span in spans), Fraction(0))
    return SceneShare(
        scene,
        seconds,
        float(seconds / timeline.duration),
        len(spans),
        max(span.duration for span in spans),
        _mean_p(spans),
    )


def _mean_p(spans: Sequence[Span]) -> float | None:
    told = [(span.duration, span.p) for span in spans if span.p is not None]
    time = sum(float(duration) for duration, _ in told)
    return sum(float(duration) * p for duration, p in told) / time if told else None


def _share_body(share: SceneShare) -> dict[str, Any]:
    body = {
        "scene": share.scene,
        "seconds": _seconds(share.seconds),
        "share": round(share.share, 6),
        "spans": share.spans,
        "longest_s": _seconds(share.longest),
    }
    return body if share.p is None else body | {"p": round(share.p, 4)}


def _seconds(time: Fraction) -> float:
    return round(float(time), 6)
