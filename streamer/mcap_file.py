"""Labels and events in MCAP, the container of robotics (https://mcap.dev/spec): JSON messages, a topic per source.

`/scene/<source>/labels` and `/scene/<source>/events` hold the bodies of the bus, byte for byte as in JSON Lines.
`docs/mcap.md` tells how times are had. The library is optional, so it is imported where it is needed.
"""

from __future__ import annotations

import json
import logging
import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from config.plugins import MissingLibraryError
from streamer import schemas
from streamer.encoding import Body
from streamer.errors import LabelFileError, MessageError
from streamer.frame import SOURCE_NAME

if TYPE_CHECKING:
    from mcap.records import McapRecord

_LOG = logging.getLogger(__name__)

_TOPIC: Final = re.compile(r"/scene/[^/]+/(?:labels|events)")
# Of the moment, not of the recording.
_NOT_RECORDED: Final = frozenset({"heartbeat", "frame", "snapshot"})
_LARGEST_RECORD: Final = 1 << 28
"""Bytes; what claims to be larger is damage."""
_LARGEST_TIME: Final = 2**64 - 1
_WALL_CLOCKS: Final = ("source", "arrival")


class CutOff(Exception):
    """The file ends before MCAP's own end; what came before was delivered."""


def require_mcap() -> None:
    """Raise MissingLibraryError if the library is not installed."""
    try:
        import mcap  # noqa: F401
    except ImportError as error:
        raise MissingLibraryError("MCAP needs the library 'mcap'; pip install 'scene-streamer[mcap]'") from error


def mcap_messages(path: Path, stream: BinaryIO) -> Iterator[bytes]:
    """The labels and events of a file, in its order, in JSON. Topics that are not ours are passed over.

    Args:
        path: its name, for errors.
        stream: the file, open at its start.

    Raises:
        CutOff: the file ends too early.
        LabelFileError: it is no MCAP, or damaged.
        MissingLibraryError: the library is not installed.
    """
    require_mcap()
    from mcap.records import Channel, Message

    ours: set[int] = set()
    for record in _records(path, stream):
        if isinstance(record, Channel):
            if record.message_encoding == "json" and _TOPIC.fullmatch(record.topic):
                ours.add(record.id)
        elif isinstance(record, Message) and record.channel_id in ours:
            yield record.data


def _records(path: Path, stream: BinaryIO) -> Iterator[McapRecord]:
    import zstandard
    from mcap.exceptions import InvalidMagic, McapError
    from mcap.records import Chunk
    from mcap.stream_reader import StreamReader, breakup_chunk

    exact: Any = _Exact(stream)
    reader = StreamReader(exact, emit_chunks=True, validate_crcs=True, record_size_limit=_LARGEST_RECORD)
    try:
        for record in reader.records:
            if not isinstance(record, Chunk):
                yield record
            elif record.uncompressed_size <= _LARGEST_RECORD:
                yield from breakup_chunk(record, validate_crc=True)
            else:
                raise LabelFileError(f"{path} is damaged: a chunk claims {record.uncompressed_size} bytes")
    except InvalidMagic:
        raise LabelFileError(f"{path} is no MCAP file") from None
    # What the library and those that decompress for it say of damaged bytes.
    except (McapError, ValueError, struct.error, zstandard.ZstdError, RuntimeError, MemoryError) as error:
        raise LabelFileError(f"{path} is damaged: {type(error).__name__}: {error}") from error


class _Exact:
    """A stream that tells when it ends too early, and that no part of a record is larger than one may be.

    The library takes what there is for the whole, and asks for as much as a damaged length says.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        if size > _LARGEST_RECORD:
            raise ValueError(f"a part of a record claims {size} bytes")
        data = self._stream.read(size)
        if len(data) < size:
            raise CutOff
        return data


class McapWriter:
    """Writes labels and events; other messages are left out, and at the end it is said how many.

    Args:
        path: the file's name, for the log.
        stream: the file, open for writing; it stays open.

    Raises:
        MissingLibraryError: the library is not installed.
    """

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        require_mcap()
        from mcap.writer import Writer

        self._path = path
        self._writer = Writer(stream)
        self._writer.start(profile="", library="scene-streamer")
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._times = LogTimes()
        self._left_out = 0

    def add(self, data: bytes, body: Body) -> None:
        """Write the next message.

        Args:
            data: its body in JSON.
            body: the same, decoded.

        Raises:
            MessageError: it has no source, or one with a name that cannot be.
        """
        kind = body.get("type")
        if kind in _NOT_RECORDED:
            self._left_out += 1
            return
        source, seq, time_ns = body.get("source"), body.get("seq"), self._times.of(body)
        if not isinstance(source, str) or not SOURCE_NAME.fullmatch(source):
            raise MessageError(f"message of the source {str(source)[:80]!r}, which is no name of one")
        self._writer.add_message(
            self._channel(source, "label" if kind == "label" else "event"),
            log_time=time_ns,
            publish_time=time_ns,
            data=data,
            sequence=seq % 2**32 if isinstance(seq, int) else 0,
        )

    def flush(self) -> None:
        """Hand all messages so far to the operating system: a killed program then loses none of them."""
        self._writer.flush()  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """Write the index."""
        self._writer.finish()  # type: ignore[no-untyped-call]
        if self._left_out:
            _LOG.info("%s holds labels and events; %d other messages are left out", self._path, self._left_out)

    def _channel(self, source: str, schema: str) -> int:
        topic = f"/scene/{source}/{schema}s"
        if topic not in self._channels:
            if schema not in self._schemas:
                text = json.dumps(viewer_schema(schema)).encode()
                self._schemas[schema] = self._writer.register_schema(f"scene_streamer.{schema}", "jsonschema", text)
            self._channels[topic] = self._writer.register_channel(topic, "json", self._schemas[schema])
        return self._channels[topic]


class LogTimes:
    """When each message of a recording is logged, in nanoseconds.

    A label of a camera: its capture, in Unix time. A label of a recording, whose capture time is only when it was
    decoded: its time in the stream. An event: on the clock of the labels of its source.
    """

    def __init__(self) -> None:
        self._in_stream: dict[str, int] = {}
        """Of each source whose labels have the time of the stream: that of its last message."""

    def of(self, body: Body) -> int:
        """The time of the next message; 0 where it has none."""
        source = str(body.get("source"))
        if body.get("type") == "label":
            captured = body.get("t_capture_ns")
            if body.get("clock") in _WALL_CLOCKS and isinstance(captured, int):
                self._in_stream.pop(source, None)
                return _bounded(captured)
            self._in_stream.setdefault(source, 0)
        elif source not in self._in_stream:
            published = body.get("t_publish_ns")
            return _bounded(published) if isinstance(published, int) else 0
        self._in_stream[source] = _stream_ns(body, self._in_stream[source])
        return self._in_stream[source]


def _stream_ns(body: Body, otherwise: int) -> int:
    """The time in the stream; `otherwise` where the message has none."""
    try:
        return _bounded(int(body["pts"] * Fraction(*body["time_base"]) * 10**9))
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return otherwise


def _bounded(time_ns: int) -> int:
    return min(max(0, time_ns), _LARGEST_TIME)


def viewer_schema(name: str) -> dict[str, Any]:
    """A schema of `streamer.schemas` as Foxglove can take it.

    Its parser refuses a whole topic for a key without a `type`, and for lists of lists. So types are filled in, and
    keys that it cannot take are not mentioned, which permits them: every message fits this schema too, and a viewer
    still shows all of it.
    """
    schema = schemas.load(name)
    return schema | {"properties": _plain_properties(schema["properties"])}


def _plain_properties(properties: dict[str, Any]) -> dict[str, Any]:
    plain = {key: _plain_property(value) for key, value in properties.items()}
    return {key: value for key, value in plain.items() if value is not None}


def _plain_property(value: dict[str, Any]) -> dict[str, Any] | None:
    if "const" in value or "enum" in value:
        example = value["const"] if "const" in value else value["enum"][0]
        return {"type": "integer" if isinstance(example, int) else "string"} | value
    if value["type"] == "object":
        return value | {"properties": _plain_properties(value.get("properties", {}))}
    if value["type"] == "array":
        items = value.get("items") or value.get("prefixItems", [{}])[0]
        return value | {"items": items} if items.get("type") in ("boolean", "string", "number", "integer") else None
    return value
