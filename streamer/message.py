"""Messages of the bus, protocol version 1: topics and bodies. Pure; `docs/protocol.md` describes them for readers.

A key whose value is not computed is absent, never a constant. Times: `pts` in units of `time_base` (stream time),
`*_ns` Unix time in nanoseconds, `*_s` seconds, `*_ms` milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from models.prediction import top_k
from streamer.encoding import MAX_BYTES, MAX_DEPTH, Body, Encoding, decode, encode, plain
from streamer.errors import MessageError

if TYPE_CHECKING:
    from models.prediction import Prediction
    from models.smoothing.base import Belief
    from models.transitions import Transition
    from streamer.state import Drops, SceneState

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "VERSION",
    "Body",
    "EncodedFrame",
    "Encoding",
    "Place",
    "belief_body",
    "check_head",
    "decode",
    "drops_body",
    "encode",
    "event_body",
    "event_topic",
    "evidence_body",
    "frame_header",
    "frame_topic",
    "heartbeat_body",
    "heartbeat_topic",
    "label_body",
    "label_topic",
    "parse_topic",
    "topic",
]

VERSION = 1
"""The protocol's version; grows only when a reader of the old one would misread the new."""

_TOPIC = re.compile(rb"([A-Z])/([A-Za-z0-9_.-]{1,64})/")


def topic(kind: str, source: str) -> bytes:
    """Topic of the messages of one kind; the slash at the end keeps `cam1` from matching `cam10`."""
    return f"{kind}/{source}/".encode()


def label_topic(source: str) -> bytes:
    """`L/<source>/`."""
    return topic("L", source)


def event_topic(source: str) -> bytes:
    """`E/<source>/`."""
    return topic("E", source)


def heartbeat_topic(source: str) -> bytes:
    """`H/<source>/`."""
    return topic("H", source)


def frame_topic(source: str) -> bytes:
    """`F/<source>/`."""
    return topic("F", source)


def parse_topic(data: bytes) -> tuple[str, str]:
    """(kind, source) of a topic, such as ("L", "cam1").

    Raises:
        MessageError: `data` is no topic of this protocol.
    """
    match = _TOPIC.fullmatch(data)
    if match is None:
        raise MessageError(f"{data[:80]!r} is no topic")
    return match[1].decode(), match[2].decode()


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which stream a message belongs.

    Attributes:
        source: name of the source.
        run: UUID of this start of the publisher.
        epoch: pts compare only within an epoch.
        pts: presentation time in units of `time_base`; None before the first frame.
        time_base: seconds per unit of pts; None before the source is open.
    """

    source: str
    run: str
    epoch: int = 0
    pts: int | None = None
    time_base: Fraction | None = None


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """An annotated frame on its way to the bus.

    Attributes:
        source, epoch, pts, time_base, frame_id: as in `Frame`.
        label_seq: `seq` of the label message that belongs to it.
        width, height: of the picture in pixels.
        encoding: how `data` is compressed ("jpeg").
        data: the compressed picture.
    """

    source: str
    epoch: int
    pts: int
    time_base: Fraction
    frame_id: int
    label_seq: int
    width: int
    height: int
    data: bytes
    encoding: str = "jpeg"


def label_body(state: SceneState, *, run: str, t_publish_ns: int) -> Body:
    """Body of the label message of `state`.

    Args:
        state: the frame's scene; its `seq` becomes the message's.
        run: UUID of this start of the publisher.
        t_publish_ns: Unix time of publication in nanoseconds.
    """
    frame, belief = state.frame, state.belief
    place = Place(frame.source, run, frame.epoch, frame.pts, frame.time_base)
    body = (
        _head("label", place, state.seq, t_publish_ns)
        | {
            "frame_id": int(frame.frame_id),
            "t_capture_ns": int(frame.t_capture_ns),
            "clock": frame.clock,
            "drops": drops_body(state.drops),
            "raw": _ranking(state.raw),
            "entropy": float(state.prediction.entropy),
            "model": _model(state),
            "smoother": plain(state.smoother),
        }
        | belief_body(belief, state.prediction.labels)
    )
    if state.transition is not None:
        body["cut"] = state.transition.kind
        if state.transition.kind != "hard":
            body["transition"] = _transition(state.transition)
    if state.groups:
        body["groups"] = {group: float(p) for group, p in state.groups.items()}
    if state.prediction.class_map is not None:
        body["semantic"] = [[i, _object_name(i), float(share)] for i, share in state.prediction.class_shares()]
    return body


def belief_body(belief: Belief, labels: tuple[str, ...]) -> Body:
    """What a label body says of a smoother's belief over the scenes `labels`."""
    body: Body = {
        "stable": {
            "scene": labels[belief.scene],
            "p": float(belief.p),
            "since_pts": int(belief.since_pts),
            "dwell_s": float(belief.dwell_s),
            "changed": bool(belief.changed),
            "held": bool(belief.held),
        },
        "smoothed": _ranking(top_k(belief.probabilities, labels, 5)),
        "unknown": bool(belief.unknown),
    }
    if belief.p_unknown is not None:
        body["p_unknown"] = float(belief.p_unknown)
    return body


def evidence_body(prediction: Prediction) -> Body:
    """All that a smoother takes of a prediction, in digits that give the very same numbers back: recordings may keep it
    in their label bodies, so that other settings can be tried on it."""
    # The shortest decimal of a float32, not that of the float64 it becomes.
    scenes = {label: float(str(p)) for label, p in zip(prediction.labels, prediction.probabilities, strict=True)}
    body: Body = {"probabilities": scenes}
    if prediction.p_unknown is not None:
        body["raw_p_unknown"] = float(prediction.p_unknown)
    return body


def event_body(kind: str, place: Place, *, seq: int, t_publish_ns: int, details: Mapping[str, Any]) -> Body:
    """Body of an event: `scene`, `cut`, `rule`, `reconnect`, `health` or `bye`.

    Args:
        kind: the event's type.
        place: the frame to which the event belongs, as far as there is one.
        seq: counts the events of the source.
        t_publish_ns: Unix time of publication in nanoseconds.
        details: what this type needs; entries that are None are left out.
    """
    known = {key: plain(value) for key, value in details.items() if value is not None}
    return _head(kind, place, seq, t_publish_ns) | known


def heartbeat_body(
    place: Place,
    *,
    seq: int,
    t_publish_ns: int,
    seqs: Mapping[str, int],
    fps: float,
    age_ms: Mapping[str, float] | None,
    drops: Drops,
    health: str,
) -> Body:
    """Body of a heartbeat.

    Args:
        place: the last frame that was published.
        seq: counts the heartbeats of the source.
        t_publish_ns: Unix time of publication in nanoseconds.
        seqs: last `seq` of each topic that has had a message.
        fps: label messages per second, lately.
        age_ms: {p50, p95} of the labels' age at publication (since capture), lately; None before the first label.
        drops: frames lost so far.
        health: `starting`, `ok`, `stalled`, `reconnecting` or `ended`.
    """
    body = _head("heartbeat", place, seq, t_publish_ns) | {
        "seqs": dict(seqs),
        "fps": float(fps),
        "drops": drops_body(drops),
        "health": health,
    }
    if age_ms is not None:
        body["age_ms"] = {name: float(value) for name, value in age_ms.items()}
    return body


def frame_header(frame: EncodedFrame, *, run: str, seq: int, t_publish_ns: int) -> Body:
    """Header of an annotated frame, the second part of its message; the third is the compressed picture."""
    place = Place(frame.source, run, frame.epoch, frame.pts, frame.time_base)
    return _head("frame", place, seq, t_publish_ns) | {
        "frame_id": int(frame.frame_id),
        "label_seq": int(frame.label_seq),
        "w": int(frame.width),
        "h": int(frame.height),
        "encoding": frame.encoding,
    }


def drops_body(drops: Drops) -> dict[str, int]:
    """{decode, queue, infer}: frames lost so far, by cause."""
    return {"decode": int(drops.decode), "queue": int(drops.queue), "infer": int(drops.infer)}


def check_head(body: Body) -> None:
    """Make sure that `body` has what every reader relies on.

    Raises:
        MessageError: another version, or a key of the head is missing or of another type.
    """
    if body.get("v") != VERSION or isinstance(body["v"], bool):
        raise MessageError(f"message of protocol version {str(body.get('v'))[:20]}; this reader knows {VERSION}")
    for key, kind in (("type", str), ("source", str), ("run", str), ("seq", int)):
        if not isinstance(body.get(key), kind) or isinstance(body[key], bool):
            raise MessageError(f"message without {key!r}")


def _head(kind: str, place: Place, seq: int, t_publish_ns: int) -> Body:
    """What all messages have in common."""
    head: Body = {
        "v": VERSION,
        "type": kind,
        "source": place.source,
        "run": place.run,
        "seq": int(seq),
        "epoch": int(place.epoch),
    }
    if place.pts is not None:
        head["pts"] = int(place.pts)
    if place.time_base is not None:
        head["time_base"] = [place.time_base.numerator, place.time_base.denominator]
    head["t_publish_ns"] = int(t_publish_ns)
    return head


def _ranking(scenes: Iterable[tuple[str, float]]) -> list[list[Any]]:
    return [[scene, float(p)] for scene, p in scenes]


def _transition(transition: Transition) -> Body:
    start, end = transition.start, transition.end
    return {
        "start_frame_id": int(start.frame_id),
        "start_pts": int(start.pts),
        "end_frame_id": int(end.frame_id),
        "end_pts": int(end.pts),
    }


def _model(state: SceneState) -> Body:
    model = state.model
    body: Body = {"name": model.name, "sha256": model.sha256, "labels_sha256": model.labels_sha256}
    if model.segmenter is not None:
        body["segmenter"] = model.segmenter
    if state.reused is not None:
        body["reused"] = bool(state.reused)
    return body


@cache
def _object_name(number: int) -> str:
    """Name of an ADE20K class id, 1..150."""
    # Loaded on first use: a reader of messages needs no label lists.
    from config.labels import load_labels

    return load_labels("ade20k_objects").name_of(number)
