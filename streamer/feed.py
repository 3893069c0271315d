"""What the bus says about one source: turns states and events into messages and counts them. Pure, knows no sockets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamer.events import Ended, Opened, Reconnected, Reconnecting, SourceEvent
from streamer.message import (
    Body,
    EncodedFrame,
    Place,
    event_body,
    event_topic,
    frame_header,
    frame_topic,
    heartbeat_body,
    heartbeat_topic,
    label_body,
    label_topic,
)
from streamer.metrics import Percentiles, Rate
from streamer.rules.firing import Firing
from streamer.state import Drops, SceneState

Outgoing = tuple[bytes, Body]
"""A topic and the body that goes there."""


@dataclass(frozen=True, slots=True)
class Now:
    """The present on two clocks: `monotonic_s` for durations, `unix_ns` for messages."""

    monotonic_s: float
    unix_ns: int


class Feed:
    """Messages of one source, in order, each topic counted from 0.

    Args:
        source: the source's name.
        run: UUID of this start of the publisher.
        stalled_after_s: seconds without a label after which a source that has delivered counts as stalled.
    """

    def __init__(self, source: str, run: str, stalled_after_s: float = 3.0) -> None:
        self.source = source
        self.health = "starting"
        """`starting`, `ok`, `stalled`, `reconnecting` or `ended`."""
        self._place = Place(source, run)
        self._stalled_after_s = stalled_after_s
        self._seqs: dict[bytes, int] = {}
        self._drops = Drops()
        self._scene: tuple[int, str] | None = None  # epoch and name of the last stable scene
        self._alive_s = 0.0  # when the source last gave a sign of life
        self._return: Reconnected | None = None  # announced with the first frame after it, which gives it a pts
        self._rate = Rate()
        self._age_ms = Percentiles()

    @property
    def ended(self) -> bool:
        """Whether `bye` has been said."""
        return self.health == "ended"

    def label(self, state: SceneState, now: Now) -> list[Outgoing]:
        """The label message of `state`, then the events that it brings."""
        frame = state.frame
        self._place = Place(self.source, self._place.run, frame.epoch, frame.pts, frame.time_base)
        self._drops = state.drops
        self._alive_s = now.monotonic_s
        self._rate.add(now.monotonic_s)
        self._age_ms.add(now.monotonic_s, (now.unix_ns - frame.t_capture_ns) / 1e6)
        self._seqs[label_topic(self.source)] = state.seq
        messages = [(label_topic(self.source), label_body(state, run=self._place.run, t_publish_ns=now.unix_ns))]
        if self._return is not None:
            messages.append(self._event("reconnect", now, cause=self._return.cause, attempt=self._return.attempt))
            self._return = None
        messages += self._turn("ok", now)
        if state.cut:
            messages.append(self._cut(state, now))
        if state.changed:
            messages.append(self._change(state, now))
        return messages

    def event(self, item: SourceEvent, now: Now) -> list[Outgoing]:
        """The messages of what happened to the source; `Ended` has its own method, `bye`."""
        self._alive_s = now.monotonic_s
        if isinstance(item, Opened):
            self._place = replace(self._place, time_base=item.info.time_base)
        elif isinstance(item, Reconnecting):
            return self._turn("reconnecting", now, cause=item.cause, attempt=item.attempt)
        elif isinstance(item, Reconnected):
            self._return = item
        return []

    def rule(self, firing: Firing, now: Now) -> Outgoing:
        """The event of a rule that has fired; it follows the label of its frame."""
        return self._event("rule", now, **firing.details())

    def bye(self, item: Ended, active: Sequence[str], now: Now) -> list[Outgoing]:
        """The last event of the source; nothing at the second call.

        Args:
            item: why it ended.
            active: names of the sources that still run.
            now: the present.
        """
        if self.ended:
            return []
        self.health = "ended"
        self._drops = Drops(
            decode=max(self._drops.decode, item.drops.decode),
            queue=max(self._drops.queue, item.drops.queue),
            infer=max(self._drops.infer, item.drops.infer),
        )
        seq = self._next_seq(event_topic(self.source))
        details: dict[str, Any] = {
            "cause": item.cause,
            "error": None if item.error is None else _one_line(item.error),
            "seqs": self._seqs_by_name(),
            "active": list(active),
            "drops": {"decode": self._drops.decode, "queue": self._drops.queue, "infer": self._drops.infer},
        }
        body = event_body("bye", self._place, seq=seq, t_publish_ns=now.unix_ns, details=details)
        return [(event_topic(self.source), body)]

    def stall(self, now: Now) -> list[Outgoing]:
        """A `health` event if a source that has delivered went silent."""
        if self.health == "ok" and now.monotonic_s - self._alive_s > self._stalled_after_s:
            return self._turn("stalled", now, cause=f"no label for {now.monotonic_s - self._alive_s:.1f} s")
        return []

    def heartbeat(self, now: Now) -> Outgoing:
        """The heartbeat of this moment."""
        ages = self._age_ms.at(now.monotonic_s, (50, 95))
        seqs = self._seqs_by_name()
        seq = self._next_seq(heartbeat_topic(self.source))
        return heartbeat_topic(self.source), heartbeat_body(
            self._place,
            seq=seq,
            t_publish_ns=now.unix_ns,
            seqs=seqs | {heartbeat_topic(self.source).decode(): seq},
            fps=self._rate.per_second(now.monotonic_s),
            age_ms=None if ages is None else {"p50": ages[0], "p95": ages[1]},
            drops=self._drops,
            health=self.health,
        )

    def frame(self, frame: EncodedFrame, now: Now) -> Outgoing:
        """Topic and header of an annotated frame."""
        seq = self._next_seq(frame_topic(self.source))
        header = frame_header(frame, run=self._place.run, seq=seq, t_publish_ns=now.unix_ns)
        return frame_topic(self.source), header

    def _change(self, state: SceneState, now: Now) -> Outgoing:
        """The `scene` event; `from` is absent at the first scene of an epoch, where nothing was before."""
        epoch = state.frame.epoch
        before = self._scene[1] if self._scene is not None and self._scene[0] == epoch else None
        self._scene = (epoch, state.scene)
        p = float(state.p)
        return self._event("scene", now, frame_id=state.frame.frame_id, p=p, to=state.scene, **{"from": before})

    def _cut(self, state: SceneState, now: Now) -> Outgoing:
        """The `cut` event; a hard one has no span."""
        transition = state.transition
        if transition is None:
            return self._event("cut", now, frame_id=state.frame.frame_id)
        start, end = transition.start, transition.end
        span: dict[str, Any] = {}
        if transition.kind != "hard":
            span = {"start_frame_id": start.frame_id, "start_pts": start.pts, "end_pts": end.pts}
        return self._event("cut", now, frame_id=end.frame_id, kind=transition.kind, **span)

    def _turn(self, health: str, now: Now, **details: Any) -> list[Outgoing]:
        """A `health` event if the health is another than before."""
        if health == self.health:
            return []
        before, self.health = self.health, health
        return [self._event("health", now, health=health, before=before, **details)]

    def _event(self, type_: str, now: Now, **details: Any) -> Outgoing:
        seq = self._next_seq(event_topic(self.source))
        body = event_body(type_, self._place, seq=seq, t_publish_ns=now.unix_ns, details=details)
        return event_topic(self.source), body

    def _next_seq(self, topic: bytes) -> int:
        self._seqs[topic] = self._seqs.get(topic, -1) + 1
        return self._seqs[topic]

    def _seqs_by_name(self) -> dict[str, int]:
        return {topic.decode(): seq for topic, seq in self._seqs.items()}


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
