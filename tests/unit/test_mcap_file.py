"""Labels in MCAP: there and back byte for byte, on the right clock, and what is whole of a file that is not."""

from __future__ import annotations

import builtins
import io
import json
import logging
from fractions import Fraction
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_files import RUN, label, labels
from mcap.reader import make_reader
from mcap.writer import Writer

from config.plugins import MissingLibraryError
from streamer import schemas
from streamer.errors import LabelFileError, MessageError
from streamer.label_file import read_labels
from streamer.mcap_file import LogTimes, McapWriter, viewer_schema
from streamer.message import Place, encode, event_body
from streamer.message_file import read_messages, write_messages
from tools.label_copy import copy_labels

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def event(kind: str = "scene", *, source: str = "clip", pts: int | None = 3, t_publish_ns: int = 7) -> dict:
    place = Place(source, RUN, 0, pts, Fraction(1, 25))
    return event_body(kind, place, seq=0, t_publish_ns=t_publish_ns, details={"to": "kitchen"})


def lines(bodies: list[dict]) -> bytes:
    return b"".join(encode(body, "json") + b"\n" for body in bodies)


def mcap(path: Path, bodies: list[dict]) -> Path:
    write_messages(path, ((encode(body, "json"), body) for body in bodies))
    return path


@st.composite
def recordings(draw) -> list[dict]:
    """Labels and events of several sources, with keys that nobody knows, one label at least."""
    bodies = [label("kitchen", 0)]
    for pts in range(1, draw(st.integers(1, 8))):
        body = label(draw(st.sampled_from(["kitchen", "street"])), pts) if draw(st.booleans()) else event(pts=pts)
        known = {
            "source": draw(st.sampled_from(["clip", "cam1"])),
            "clock": draw(st.sampled_from(["file", "arrival", "source"])),
            "pts": draw(st.integers(-(2**63), 2**63)),
            "seq": draw(st.integers(0, 2**64 - 1)),
            "t_capture_ns": draw(st.integers(0, 2**64 - 1)),
        }
        bodies.append(draw(st.dictionaries(TEXT, VALUES, max_size=3)) | body | known)
    return bodies


@given(recordings())
@settings(deadline=None)
def test_there_and_back_are_the_very_same_bytes(tmp_path_factory, bodies):
    folder = tmp_path_factory.mktemp("copies")
    written = lines([body for body in bodies if "topic" not in body])
    (folder / "a.jsonl").write_bytes(written)
    count = copy_labels(folder / "a.jsonl", folder / "b.mcap")
    assert copy_labels(folder / "b.mcap", folder / "c.jsonl") == count
    assert (folder / "c.jsonl").read_bytes() == written


def test_a_reader_of_others_finds_topics_schemas_and_times(tmp_path):
    bodies = [
        label("kitchen", 2),
        event(),
        label("street", 50) | {"source": "cam1", "clock": "arrival", "t_capture_ns": 10**18},
        event(source="cam1", t_publish_ns=10**18 + 5),
    ]
    with mcap(tmp_path / "clip.mcap", bodies).open("rb") as stream:
        found = list(make_reader(stream, validate_crcs=True).iter_messages(log_time_order=False))
    assert [channel.topic for _, channel, _ in found] == [
        *("/scene/clip/labels", "/scene/clip/events"),
        *("/scene/cam1/labels", "/scene/cam1/events"),
    ]
    assert [message.log_time for *_, message in found] == [80_000_000, 120_000_000, 10**18, 10**18 + 5]
    for (schema, channel, message), body in zip(found, bodies, strict=True):
        assert (channel.message_encoding, schema.encoding) == ("json", "jsonschema")
        assert message.publish_time == message.log_time
        assert json.loads(message.data) == body
        jsonschema.Draft202012Validator(json.loads(schema.data)).validate(body)


def test_events_are_on_the_clock_of_their_source():
    times = LogTimes()
    assert times.of(event(pts=None, t_publish_ns=9)) == 9
    assert times.of(label("kitchen", 25)) == 10**9
    assert times.of(event("bye", pts=None)) == 10**9
    assert times.of(event(pts=50)) == 2 * 10**9
    assert times.of(label("kitchen", -25)) == 0
    assert times.of(label("kitchen", 1) | {"clock": "source", "t_capture_ns": 5}) == 5
    assert times.of(event(pts=50)) == 7


@pytest.mark.parametrize("strange", [{"pts": "x"}, {"time_base": [1, 0]}, {"time_base": 3}, {"pts": float("inf")}])
def test_labels_with_strange_times_have_that_of_the_one_before(strange):
    times = LogTimes()
    assert times.of(label("kitchen", 25)) == times.of(label("kitchen", 50) | strange) == 10**9


@pytest.mark.parametrize("name", ["label", "event"])
def test_schemas_have_nothing_that_stops_a_viewer(name):
    """What the parser of Foxglove's open-source studio takes: `type` everywhere, lists of scalars, objects that say
    their keys."""

    def check(properties: dict) -> None:
        for value in properties.values():
            assert value["type"] in ("boolean", "string", "number", "integer", "object", "array")
            if value["type"] == "array":
                assert value["items"]["type"] in ("boolean", "string", "number", "integer")
            if value["type"] == "object":
                check(value["properties"])

    schema = viewer_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    check(schema["properties"])
    assert schema["required"] == schemas.load(name)["required"]


def test_heartbeats_are_left_out_and_that_is_said(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        path = mcap(tmp_path / "clip.mcap", [event("heartbeat"), label("kitchen", 0), event("heartbeat")])
    assert [message.body["type"] for message in read_messages(path)] == ["label"]
    assert "2 other messages are left out" in caplog.text


def test_topics_of_others_are_passed_over(tmp_path):
    path = tmp_path / "robot.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema("anything", "jsonschema", b"{}")
        for topic, encoding in (("/camera", "json"), ("/scene/x/labels", "cdr"), ("/scene/clip/labels", "json")):
            channel = writer.register_channel(topic, encoding, schema)
            text = json.dumps(label("kitchen", 0), indent=1).encode() if "clip" in topic else b"\xff"
            writer.add_message(channel, 0, text, 0)
        writer.finish()
    (message,) = read_messages(path)
    assert message.body["type"] == "label" and b"\n" not in message.data


def unfinished(bodies: list[dict]) -> tuple[bytes, list[int]]:
    """The file of a writer that was killed, and how long it was after each message."""
    stream, lengths = io.BytesIO(), []
    writer = McapWriter(Path("x.mcap"), stream)
    for body in bodies:
        writer.add(encode(body, "json"), body)
        writer.flush()
        lengths.append(stream.tell())
    return stream.getvalue(), lengths


def test_a_killed_writer_leaves_its_whole_messages(tmp_path, caplog):
    path = tmp_path / "clip.mcap"
    path.write_bytes(unfinished(labels(["kitchen"] * 3))[0])
    assert len(list(read_labels(path))) == 3
    assert "read up to its last whole message (3)" in caplog.text
    with pytest.raises(LabelFileError, match=r"cut off after message 3 .*--as-is"):
        list(read_messages(path, whole=True))
    assert copy_labels(path, tmp_path / "whole.mcap") == 3
    assert len(list(read_messages(tmp_path / "whole.mcap", whole=True))) == 3


@given(st.data())
@settings(deadline=None)
def test_any_cut_leaves_the_messages_before_it(tmp_path_factory, data):
    bodies = labels(["kitchen"] * 4)
    content, lengths = unfinished(bodies)
    path, size = tmp_path_factory.mktemp("cut") / "clip.mcap", data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:size])
    found = [message.body for message in read_messages(path)]
    assert found == bodies[: len(found)]
    assert len(found) >= sum(length <= size for length in lengths)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_damage_is_an_error_or_does_no_harm(tmp_path_factory, data):
    path = mcap(tmp_path_factory.mktemp("damaged") / "clip.mcap", labels(["kitchen", "street"]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        list(read_messages(path))
    except LabelFileError as error:
        assert "clip.mcap" in str(error)


def test_a_length_that_no_file_has_is_damage(tmp_path):
    path = mcap(tmp_path / "clip.mcap", labels(["kitchen", "street"]))
    content = bytearray(path.read_bytes())
    # What follows "zstd" in a chunk is the length of its records.
    at = content.index(b"zstd") + 4
    content[at : at + 8] = (2**63 + 1).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(LabelFileError, match=r"clip\.mcap is damaged: .* claims 9223372036854775809 bytes"):
        list(read_messages(path))


def test_what_is_no_mcap_is_told(tmp_path):
    path = tmp_path / "clip.mcap"
    path.write_bytes(lines(labels(["kitchen"])))
    with pytest.raises(LabelFileError, match=r"clip\.mcap is no MCAP file"):
        list(read_messages(path))
    with pytest.raises(LabelFileError, match="no labels at"):
        list(read_messages(tmp_path / "none.mcap"))
    with pytest.raises(MessageError, match="no name of one"):
        mcap(path, [label("kitchen", 0) | {"source": "a/b"}])


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    path = mcap(tmp_path / "clip.mcap", [label("kitchen", 0)])
    real = builtins.__import__

    def absent(name, *rest):
        if name.partition(".")[0] == "mcap":
            raise ModuleNotFoundError(name="mcap")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    for action in (lambda: list(read_messages(path)), lambda: write_messages(tmp_path / "new.mcap", [])):
        with pytest.raises(MissingLibraryError, match=r"pip install 'scene-streamer\[mcap\]'"):
            action()
    assert not (tmp_path / "new.mcap").exists()
