"""Topics and bodies of the bus, their encodings, their schemas."""

import contextlib
import time
from dataclasses import replace
from fractions import Fraction

import jsonschema
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.prediction import Prediction
from models.smoothing.base import Belief
from models.transitions import Moment, Transition
from streamer import schemas
from streamer.encoding import MAX_BYTES, MAX_DEPTH, plain
from streamer.errors import MessageError
from streamer.frame import Frame
from streamer.message import (
    EncodedFrame,
    Place,
    check_head,
    decode,
    encode,
    event_body,
    event_topic,
    frame_header,
    frame_topic,
    heartbeat_body,
    heartbeat_topic,
    label_body,
    label_topic,
    parse_topic,
)
from streamer.state import Drops, ModelIdentity, SceneState

RUN = "11111111-2222-3333-4444-555555555555"
LABELS = ("kitchen", "street", "forest", "office", "beach", "attic")


def make_state(*, seq=0, semantics=True, groups=True, reused=None, segmenter="lite_fpn", seed=0, scenes=6, epoch=0):
    rng = np.random.default_rng(seed)
    labels = LABELS[:scenes]
    p = rng.dirichlet(np.ones(scenes)).astype(np.float32)
    image = np.zeros((6, 8, 3), np.uint8)
    frame = Frame(image, seq * 512, Fraction(1, 15360), seq, "cam1", epoch, time.time_ns(), "file")
    class_map = rng.integers(0, 151, (12, 16)).astype(np.uint8) if semantics else None
    belief = Belief(p, int(p.argmax()), p.max(), np.int64(0), np.float64(seq / 30), np.True_, False, False)
    return SceneState(
        frame=frame,
        seq=seq,
        prediction=Prediction(p, labels, class_map),
        belief=belief,
        drops=Drops(1, 2, 3),
        cut=False,
        model=ModelIdentity("scene18", "a" * 64, "b" * 64, segmenter),
        smoother={"kind": "exponential", "half_life_s": np.float32(0.5)},
        groups={"indoor": np.float32(0.25)} if groups else {},
        reused=reused,
    )


def only_plain_types(value):
    if isinstance(value, dict):
        return all(type(k) is str and only_plain_types(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(only_plain_types, value))
    return type(value) in (str, int, float, bool)


def check(body, schema):
    jsonschema.Draft202012Validator(schemas.load(schema)).validate(body)
    assert only_plain_types(body)
    check_head(body)
    for encoding in ("msgpack", "json"):
        assert decode(encode(body, encoding)) == body


@pytest.mark.parametrize("kind", ["hard", "fade", "dissolve"])
def test_a_label_tells_how_one_picture_gave_way_to_another(kind):
    start, end = Moment(np.int64(3), np.int64(30), 0.0), Moment(np.int64(5), np.int64(50), 0.1)
    state = replace(make_state(), transition=Transition(kind, end if kind == "hard" else start, end))
    body = label_body(state, run="run", t_publish_ns=1)
    check(body, "label")
    assert body["cut"] == kind
    span = {"start_frame_id": 3, "start_pts": 30, "end_frame_id": 5, "end_pts": 50}
    assert body.get("transition") == (None if kind == "hard" else span)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    seq=st.integers(0, 2**40),
    scenes=st.integers(1, 6),
    semantics=st.booleans(),
    groups=st.booleans(),
    reused=st.sampled_from([None, True, False]),
    segmenter=st.sampled_from([None, "lite_fpn"]),
)
def test_label_bodies_fit_their_schema_and_survive_both_encodings(**choice):
    body = label_body(make_state(**choice), run=RUN, t_publish_ns=time.time_ns())
    check(body, "label")
    assert len(body["raw"]) == len(body["smoothed"]) == min(5, choice["scenes"])
    assert ("semantic" in body) is choice["semantics"]
    assert ("groups" in body) is choice["groups"]
    assert ("reused" in body["model"]) is (choice["reused"] is not None)
    assert ("segmenter" in body["model"]) is (choice["segmenter"] is not None)


def test_label_body_says_what_the_state_says():
    state = make_state(seq=7, epoch=2)
    body = label_body(state, run=RUN, t_publish_ns=123)
    assert body["type"] == "label" and body["v"] == 1 and body["run"] == RUN
    assert (body["source"], body["seq"], body["epoch"], body["frame_id"], body["pts"]) == ("cam1", 7, 2, 7, 3584)
    assert body["time_base"] == [1, 15360]
    assert body["t_publish_ns"] == 123 and body["t_capture_ns"] == state.frame.t_capture_ns
    assert body["drops"] == {"decode": 1, "queue": 2, "infer": 3}
    assert body["stable"]["scene"] == state.scene and body["stable"]["changed"] is True
    assert body["raw"][0] == [state.prediction.scene, pytest.approx(state.prediction.probabilities.max())]
    assert body["entropy"] == pytest.approx(state.prediction.entropy)
    assert body["smoother"] == {"kind": "exponential", "half_life_s": 0.5}


def test_semantic_names_the_ade20k_classes():
    state = make_state()
    state.prediction.class_map[:] = 1
    assert label_body(state, run=RUN, t_publish_ns=0)["semantic"] == [[1, "wall", 1.0]]


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("scene", {"from": None, "to": "street", "p": np.float32(0.5)}),
        ("cut", {"frame_id": np.int64(3)}),
        ("reconnect", {"cause": "silence", "attempt": 2}),
        ("health", {"health": "stalled", "cause": "no label for 3 s"}),
        ("bye", {"cause": "end", "seqs": {"L/cam1/": 3}, "active": ()}),
    ],
)
def test_event_bodies_fit_their_schema(kind, details):
    place = Place("cam1", RUN, 0, 99, Fraction(1, 90000))
    body = event_body(kind, place, seq=4, t_publish_ns=1, details=details)
    check(body, "event")
    assert "from" not in body


def test_what_is_not_known_before_the_first_frame_is_absent():
    place = Place("cam1", RUN)
    body = heartbeat_body(place, seq=0, t_publish_ns=1, seqs={}, fps=0.0, age_ms=None, drops=Drops(), health="starting")
    check(body, "heartbeat")
    assert not {"pts", "time_base", "age_ms"} & body.keys()


def test_heartbeat_and_frame_header_fit_their_schemas():
    place = Place("cam1", RUN, 1, 5, Fraction(1, 25))
    ages = {"p50": np.float64(1.5), "p95": 2}
    check(
        heartbeat_body(
            place, seq=9, t_publish_ns=1, seqs={"L/cam1/": 4}, fps=25, age_ms=ages, drops=Drops(), health="ok"
        ),
        "heartbeat",
    )
    frame = EncodedFrame("cam1", 1, 5, Fraction(1, 25), 6, 4, 640, 360, b"jpeg")
    header = frame_header(frame, run=RUN, seq=2, t_publish_ns=1)
    check(header, "frame")
    assert (header["label_seq"], header["w"], header["h"], header["encoding"]) == (4, 640, 360, "jpeg")


def test_topics():
    topics = [make("cam1") for make in (label_topic, event_topic, heartbeat_topic, frame_topic)]
    assert topics == [b"L/cam1/", b"E/cam1/", b"H/cam1/", b"F/cam1/"]
    assert parse_topic(b"L/cam1/") == ("L", "cam1")
    assert not label_topic("cam10").startswith(label_topic("cam1"))


@pytest.mark.parametrize("data", [b"", b"L/cam1", b"L//", b"L/a b/", b"L/cam1/x", b"\xff/cam1/", b"L/cam1/\n"])
def test_no_topics(data):
    with pytest.raises(MessageError):
        parse_topic(data)


floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | floats
values = st.recursive(
    scalars | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(body=st.dictionaries(st.text(max_size=8), values, max_size=6), encoding=st.sampled_from(["msgpack", "json"]))
def test_round_trip(body, encoding):
    assert decode(encode(body, encoding)) == body


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"{" + tail))
def test_garbage_is_a_map_or_an_error(data):
    with contextlib.suppress(MessageError):
        assert isinstance(decode(data), dict)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1]",
        msgpack.packb([1, 2]),
        msgpack.packb({1: 2}),
        msgpack.packb({"a": float("nan")}),
        msgpack.packb({"a": msgpack.Timestamp(1)}),
        msgpack.packb({"a": msgpack.ExtType(5, b"x")}),
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' * 100_000,
        b"\x81\xa1a" * 100_000,
        b"\xdf\xff\xff\xff\xff",
        b"{" + b" " * MAX_BYTES + b"}",
    ],
)
def test_refused(data):
    with pytest.raises(MessageError):
        decode(data)


def test_depth_has_a_limit():
    body = {}
    for _ in range(MAX_DEPTH - 1):
        body = {"a": body}
    assert decode(encode(body)) == body
    for encoding in ("msgpack", "json"):
        with pytest.raises(MessageError):
            decode(encode({"a": body}, encoding))


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
@pytest.mark.parametrize("value", [object(), 2**70, np.float32(1)])
def test_what_cannot_be_encoded_is_an_error(value, encoding):
    if encoding == "json" and value == 2**70:
        pytest.skip("JSON has no largest number")
    with pytest.raises(MessageError):
        encode({"a": value}, encoding)


def test_plain_knows_numpy():
    assert plain({"a": np.arange(2), "b": (np.float32(0.5), np.True_)}) == {"a": [0, 1], "b": [0.5, True]}


@pytest.mark.parametrize(
    "change", [{"v": 2}, {"v": True}, {"v": None}, {"seq": "1"}, {"seq": True}, {"run": 1}, {"type": None}]
)
def test_heads_that_no_reader_can_use(change):
    head = {"v": 1, "type": "label", "source": "cam1", "run": RUN, "seq": 0}
    check_head(head)
    with pytest.raises(MessageError):
        check_head(head | change)


def test_schemas_are_schemas():
    for name in schemas.NAMES:
        jsonschema.Draft202012Validator.check_schema(schemas.load(name))
    with pytest.raises(ValueError, match="known: event"):
        schemas.load("nothing")
