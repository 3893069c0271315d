"""Subscribers: what they load, what they count, and that rubbish does not trouble them."""

import subprocess
import sys
import time

import numpy as np
import pytest
import zmq

from streamer.annotator import jpeg
from streamer.client import FrameSubscriber, LabelSubscriber, Message
from streamer.errors import AddressRefused, ConfigError
from streamer.message import encode


@pytest.fixture
def socket():
    """A publisher's socket in the test's own hands."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as made:
        made.linger, made.sndhwm = 0, 0
        made.rcvtimeo = 5000
        made.bind("tcp://127.0.0.1:*")
        yield made


def address(socket):
    return socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode()


def body(seq, *, run="run-1", source="cam1", **more):
    return {"v": 1, "type": "label", "source": source, "run": run, "seq": seq} | more


def say(socket, seq, topic=b"L/cam1/", **more):
    socket.send_multipart([topic, encode(body(seq, **more))])


def take(labels, count):
    messages = iter(labels)
    return [next(messages).body["seq"] for _ in range(count)]


def test_a_listener_loads_no_networks_and_no_video():
    heavy = ("torch", "torchvision", "openvino", "av")
    code = f"import streamer.client, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_gaps_and_new_runs_are_counted(socket):
    with LabelSubscriber(address(socket), source="cam1", timeout_s=5) as labels:
        socket.recv()
        for seq in (5, 6, 9, 9, 10):
            say(socket, seq)
        assert take(labels, 5) == [5, 6, 9, 9, 10]
        assert (labels.lost, labels.runs) == (2, 1)
        say(socket, 0, run="run-2")
        say(socket, 2, run="run-2")
        assert take(labels, 2) == [0, 2]
        assert (labels.lost, labels.runs, labels.garbage) == (3, 2, 0)
        say(socket, 4, run="run-3")
        assert take(labels, 1) == [4]
        assert labels.lost == 7, "what a new run said before this reader was back is lost too"


def test_each_topic_is_counted_on_its_own(socket):
    with LabelSubscriber(address(socket), kinds=("L", "E"), timeout_s=5) as messages:
        socket.recv(), socket.recv()
        say(socket, 0)
        say(socket, 7, topic=b"E/cam1/", type="cut")
        say(socket, 3, topic=b"L/cam2/", source="cam2")
        say(socket, 1)
        assert take(messages, 4) == [0, 7, 3, 1] and messages.lost == 0


def test_garbage_is_counted_and_skipped(socket):
    with LabelSubscriber(address(socket), timeout_s=5) as labels:
        socket.recv()
        rubbish = [
            [b"L/cam1/"],
            [b"L/cam1/", b""],
            [b"L/cam1/", b"\xc1\xc1"],
            [b"L/cam1/", b"{'no': json}"],
            [b"L/cam1/", encode({"v": 1})],
            [b"L/cam1/", encode(body(0, v=2))],
            [b"L/cam1/", encode(body(0, source="cam2"))],
            [b"L/no topic", encode(body(0))],
            [b"L/cam1/", encode(body(0)), b"", b""],
        ]
        for parts in rubbish:
            socket.send_multipart(parts)
        say(socket, 3)
        assert take(labels, 1) == [3]
        assert (labels.garbage, labels.lost) == (len(rubbish), 0)


def test_json_and_messagepack_are_told_apart(socket):
    with LabelSubscriber(address(socket), timeout_s=5) as labels:
        socket.recv()
        socket.send_multipart([b"L/cam1/", encode(body(0), "json")])
        say(socket, 1)
        assert take(labels, 2) == [0, 1]


def test_silence_ends_the_iteration(socket):
    with LabelSubscriber(address(socket), timeout_s=0.1) as labels:
        started = time.monotonic()
        assert list(labels) == [] and labels.receive(0.05) is None
        assert time.monotonic() - started < 2


def test_what_waits_when_the_publisher_goes_is_still_read(socket):
    with LabelSubscriber(address(socket), timeout_s=0.5) as labels:
        socket.recv()
        for seq in range(3000):
            say(socket, seq)
        socket.close(linger=1000)
        assert [message.body["seq"] for message in labels] == list(range(3000))


def test_a_message_is_a_topic_and_a_body(socket):
    with LabelSubscriber(address(socket), timeout_s=5) as labels:
        socket.recv()
        say(socket, 0, unknown_key=[1])
        assert next(iter(labels)) == Message("L/cam1/", body(0, unknown_key=[1]))


@pytest.mark.parametrize("wrong", ["", "nonsense", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "http://a:1", "é"])
def test_a_wrong_address_is_one_line(wrong):
    for subscriber in (LabelSubscriber, FrameSubscriber):
        with pytest.raises(AddressRefused, match="looks like tcp://") as error:
            subscriber(wrong)
        assert "\n" not in str(error.value)


def test_a_wrong_source_or_kind_is_said():
    with pytest.raises(ConfigError, match="no name of a source"):
        LabelSubscriber("tcp://127.0.0.1:1", source="a/b")
    with pytest.raises(ConfigError, match="known: E, F, H, L, S"):
        LabelSubscriber("tcp://127.0.0.1:1", kinds=("X",))


def test_frames_that_are_none_are_counted(socket):
    header = encode(body(0, type="frame", frame_id=1))
    picture = np.full((4, 6, 3), 200, np.uint8)
    with FrameSubscriber(address(socket), timeout_s=5) as frames:
        socket.recv()
        for parts in ([b"F/cam1/", header], [b"F/cam1/", b"?", b"?"], [b"F/cam1/", header, b""]):
            socket.send_multipart(parts)
        assert frames.receive(0.5) is None and frames.garbage == 3
        socket.send_multipart([b"F/cam1/", header, jpeg(picture, 90)])
        found, rgb = next(iter(frames))
    assert found["frame_id"] == 1 and rgb.shape == (4, 6, 3) and rgb.dtype == np.uint8


def test_the_newest_frame_of_each_source_is_kept(socket):
    data = jpeg(np.zeros((2, 2, 3), np.uint8), 80)
    with FrameSubscriber(address(socket)) as frames:
        socket.recv()
        for seq in range(3):
            for name in ("a", "b"):
                parts = [f"F/{name}/".encode(), encode(body(seq, type="frame", source=name)), data]
                socket.send_multipart(parts)
                time.sleep(0.05)
        got = [frames.receive(5)[0] for _ in range(2)]
    assert {(header["source"], header["seq"]) for header in got} == {("a", 2), ("b", 2)} and frames.skipped == 4


def test_closing_twice_is_fine():
    for subscriber in (LabelSubscriber("tcp://127.0.0.1:1"), FrameSubscriber("tcp://127.0.0.1:1")):
        subscriber.close()
        subscriber.close()
