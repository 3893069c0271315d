"""The publisher on real sockets, with readers in other processes that read, dawdle, hang and die."""

import signal
import socket
import threading
import time
from contextlib import ExitStack
from fractions import Fraction

import numpy as np
import pytest
import zmq
from bus_harness import RunningBus, bus_state, reader, wait_until_it_reads

from config.schema import BusSettings
from streamer.annotator import Annotator
from streamer.channel import Channel
from streamer.client import FrameSubscriber, LabelSubscriber
from streamer.errors import AddressInUse, AddressRefused
from streamer.events import Ended, Opened, Reconnected, Reconnecting
from streamer.message import EncodedFrame, decode
from streamer.publish import Publisher
from streamer.sources.base import SourceInfo
from streamer.worker import Worker

ALL = ("L", "E", "H")


def until_bye(messages):
    found = []
    for message in messages:
        found.append(message)
        if message.body["type"] == "bye" and not message.body["active"]:
            break
    return found


def of_kind(messages, topic):
    return [m.body for m in messages if m.topic == topic]


def wait_for(condition, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("encoding", ["msgpack", "json"])
def test_labels_and_events_come_in_order(encoding):
    with RunningBus(encoding=encoding) as bus, LabelSubscriber(bus.labels, kinds=ALL, timeout_s=5) as messages:
        assert bus.publisher.wait_subscriber(5)
        bus.items.put(Opened("cam1", SourceInfo("cam1", "cam1.mp4", False, 8, 6, Fraction(1, 25)), "every"))
        bus.put(bus_state(0, changed=True), bus_state(1), bus_state(2, scene="street", changed=True, cut=True))
        assert bus.end() < 2
        found = until_bye(messages)
    labels, events = of_kind(found, "L/cam1/"), of_kind(found, "E/cam1/")
    assert [body["seq"] for body in labels] == [0, 1, 2]
    assert [body["seq"] for body in events] == list(range(len(events)))
    assert [body["type"] for body in events] == ["health", "scene", "cut", "scene", "bye"]
    first, _, second = events[1:4]
    assert "from" not in first and first["to"] == "kitchen"
    assert (second["from"], second["to"], second["pts"], second["time_base"]) == ("kitchen", "street", 2, [1, 25])
    bye = events[-1]
    assert (bye["cause"], bye["active"]) == ("end", [])
    assert bye["seqs"]["L/cam1/"] == 2 and bye["seqs"]["E/cam1/"] == 4
    assert {body["run"] for body in labels + events} == {"run-1"}
    assert (messages.lost, messages.garbage, messages.runs) == (0, 0, 1)


def test_heartbeats_come_before_the_first_frame_and_for_every_source():
    with (
        RunningBus(("cam1", "cam10"), heartbeat_s=0.1) as bus,
        LabelSubscriber(bus.labels, kinds=("H",), timeout_s=5) as beats,
    ):
        found = [next(iter(beats)) for _ in range(8)]
        assert {m.topic for m in found} == {"H/cam1/", "H/cam10/"}
        assert {m.body["health"] for m in found} == {"starting"}
        assert all("pts" not in m.body and "age_ms" not in m.body and m.body["fps"] == 0 for m in found)
        bus.put(*(bus_state(i) for i in range(5)))
        body = next(m.body for m in beats if m.topic == "H/cam1/" and m.body["seqs"].get("L/cam1/") == 4)
    assert body["health"] == "ok" and body["pts"] == 4 and 0 <= body["age_ms"]["p50"] < 5000


def test_a_source_goes_quiet_is_lost_and_comes_back():
    with (
        RunningBus(heartbeat_s=0.05, stalled_after_s=0.2) as bus,
        LabelSubscriber(bus.labels, kinds=("E",), timeout_s=5) as messages,
    ):
        events = iter(messages)
        time.sleep(0.3)  # events alone do not count as a subscriber of labels
        bus.put(bus_state(0, changed=True))
        assert [next(events).body["type"] for _ in range(2)] == ["health", "scene"]
        assert next(events).body["health"] == "stalled"
        bus.items.put(Reconnecting("cam1", "no data for 3 s", 1))
        bus.items.put(Reconnecting("cam1", "connection refused", 2))
        lost = next(events).body
        assert (lost["health"], lost["cause"], lost["attempt"]) == ("reconnecting", "no data for 3 s", 1)
        bus.items.put(Reconnected("cam1", "connection refused", 2, epoch=1))
        bus.put(bus_state(1, epoch=1, changed=True))
        back, health, scene = (next(events).body for _ in range(3))
    assert (back["type"], back["epoch"], back["attempt"], back["pts"]) == ("reconnect", 1, 2, 1)
    assert health["health"] == "ok" and scene["epoch"] == 1 and "from" not in scene


def test_byes_name_the_sources_that_still_run():
    with RunningBus(("a", "b")) as bus, LabelSubscriber(bus.labels, kinds=("L", "E"), timeout_s=5) as messages:
        assert bus.publisher.wait_subscriber(5)
        bus.items.put(Ended("a", "error", ValueError("broken file\nsecond line")))
        bus.put(bus_state(0, "b"))
        bus.items.put(Ended("b", "max-frames"))
        bus.end()  # a second end of a source says nothing more
        byes = [m.body for m in until_bye(messages) if m.body["type"] == "bye"]
    assert [(b["source"], b["cause"], b["active"]) for b in byes] == [("a", "error", ["b"]), ("b", "max-frames", [])]
    assert byes[0]["error"] == "broken file"


def test_a_dead_sender_ends_every_source_with_its_error():
    bus = RunningBus(("a", "b"))
    with LabelSubscriber(bus.labels, kinds=("L", "E"), timeout_s=5) as messages:
        assert bus.publisher.wait_subscriber(5)
        bus.items.close(RuntimeError("out of memory"))
        byes = [m.body for m in until_bye(messages)]
    assert bus.worker.join(5) and str(bus.worker.error) == "out of memory"
    assert [(b["source"], b["cause"], b["error"]) for b in byes] == [
        ("a", "error", "out of memory"),
        ("b", "error", "out of memory"),
    ]


def test_a_late_reader_joins_in_the_middle():
    with RunningBus() as bus:
        bus.put(*(bus_state(i) for i in range(10)))
        wait_for(lambda: not len(bus.items))
        time.sleep(0.1)  # for the last one, which is on its way
        with LabelSubscriber(bus.labels, source="cam1", timeout_s=5) as labels:
            assert bus.publisher.wait_subscriber(5)
            bus.put(bus_state(10), bus_state(11))
            assert [next(iter(labels)).body["seq"] for _ in range(2)] == [10, 11]
            assert labels.lost == 0


def test_a_source_is_not_mistaken_for_a_longer_name():
    with RunningBus(("cam1", "cam10")) as bus, LabelSubscriber(bus.labels, source="cam1", timeout_s=0.5) as labels:
        assert bus.publisher.wait_subscriber(5)
        bus.put(bus_state(0, "cam10"), bus_state(0, "cam1"), bus_state(1, "cam10"))
        assert [m.topic for m in labels] == ["L/cam1/"]


def test_waiting_for_a_subscriber():
    with RunningBus() as bus:
        started = time.monotonic()
        assert not bus.publisher.wait_subscriber(0.2)
        assert 0.2 <= time.monotonic() - started < 1
        with LabelSubscriber(bus.labels, kinds=("H",)), LabelSubscriber(bus.labels, source="other"):
            assert not bus.publisher.wait_subscriber(0.4)
        stop = threading.Event()
        threading.Timer(0.1, stop.set).start()
        started = time.monotonic()
        assert not bus.publisher.wait_subscriber(60, stop)
        assert time.monotonic() - started < 2
        with LabelSubscriber(bus.labels):
            assert bus.publisher.wait_subscriber(5)
        wait_for(lambda: not bus.publisher.wait_subscriber(0))


def test_a_slow_reader_of_a_recording_gets_every_label():
    count = 1500
    with RunningBus(lossless=True, heartbeat_s=0.2) as bus, ExitStack() as processes:
        readers = [processes.enter_context(reader(bus.labels, 0.001, plain=plain)) for plain in (False, True)]
        for process in readers:
            wait_until_it_reads(process)
        bus.put(*(bus_state(i) for i in range(count)))
        assert bus.end() < 2
        outputs = [process.communicate(timeout=30)[0] for process in readers]
    for output in outputs:
        labels = [int(line.split()[2]) for line in output.splitlines() if line.startswith("L/")]
        assert labels == list(range(count))
    assert outputs[0].endswith("lost 0 garbage 0\n")


def test_readers_that_hang_or_die_stop_nobody():
    with RunningBus(lossless=True, heartbeat_s=0.2) as bus, ExitStack() as processes:
        hung, killed = (processes.enter_context(reader(bus.labels)) for _ in range(2))
        with LabelSubscriber(bus.labels, kinds=("L", "E"), timeout_s=5) as labels:
            wait_until_it_reads(hung)
            wait_until_it_reads(killed)
            hung.send_signal(signal.SIGSTOP)
            killed.kill()
            started = time.monotonic()
            bus.put(*(bus_state(i) for i in range(300)))
            assert time.monotonic() - started < 2
            assert bus.end() < 2
            found = until_bye(labels)
        hung.kill()
    assert [body["seq"] for body in of_kind(found, "L/cam1/")] == list(range(300))


def test_a_stuck_reader_delays_a_lossless_run_only_once(monkeypatch):
    monkeypatch.setattr("streamer.publish.PATIENCE_S", 0.3)
    monkeypatch.setattr("streamer.binding.LABELS_SNDHWM", 50)
    context = zmq.Context()
    stuck, reading = context.socket(zmq.SUB), context.socket(zmq.SUB)
    with RunningBus(lossless=True, labels="inproc://stuck", context=context) as bus:
        stuck.rcvhwm = 50
        reading.rcvhwm = 0
        for peer in (stuck, reading):
            peer.subscribe(b"L/")
            peer.connect("inproc://stuck")
        assert bus.publisher.wait_subscriber(5)
        time.sleep(0.2)
        started = time.monotonic()
        bus.put(*(bus_state(i) for i in range(500)))
        assert bus.end() < 2
        assert 0.3 < time.monotonic() - started < 2
        assert bus.publisher.overruns == 1
        reading.rcvtimeo = stuck.rcvtimeo = 1000
        assert [decode(reading.recv_multipart()[1])["seq"] for _ in range(500)] == list(range(500))
        assert decode(stuck.recv_multipart()[1])["seq"] == 0
    for peer in (stuck, reading):
        peer.close(linger=0)
    context.term()


def test_frames_are_made_only_while_someone_looks_and_once_for_all():
    drawn = []

    def draw(state):
        drawn.append(state.seq)
        return np.full((6, 8, 3), (250, 120, 10), np.uint8)

    states = Channel(4, "every")
    with RunningBus(frames=True) as bus:
        annotator = Annotator(draw, 90, bus.publisher.frames_wanted, bus.encoded.put)
        worker = Worker("annotator", lambda: annotator.run(states), inputs=[states])
        worker.start()
        with LabelSubscriber(bus.labels):
            assert bus.publisher.wait_subscriber(5)
            states.put(bus_state(0))
            with FrameSubscriber(bus.frames, "other"):
                time.sleep(0.3)
                states.put(bus_state(1))
                wait_for(lambda: not len(states))
        assert drawn == []
        with FrameSubscriber(bus.frames, "cam1", timeout_s=5) as one, FrameSubscriber(bus.frames, timeout_s=5) as two:
            wait_for(lambda: bus.publisher.frames_wanted("cam1"))
            time.sleep(0.3)  # both
            states.put(bus_state(2))
            (header, picture), (other, _) = one.receive(5), two.receive(5)
        assert drawn == [2] and header == other
        assert (header["label_seq"], header["w"], header["h"], header["seq"]) == (2, 8, 6, 0)
        assert np.abs(picture.astype(int) - (250, 120, 10)).max() < 12, "colours in RGB order"
        wait_for(lambda: not bus.publisher.frames_wanted("cam1"))
        states.close()
        assert worker.join(5)


def test_a_slow_viewer_gets_the_newest_frame():
    with RunningBus(frames=True) as bus, FrameSubscriber(bus.frames, "cam1") as frames:
        wait_for(lambda: bus.publisher.frames_wanted("cam1"))
        from streamer.annotator import jpeg

        data = jpeg(np.zeros((4, 4, 3), np.uint8), 80)
        for i in range(20):
            bus.encoded.put(EncodedFrame("cam1", 0, i, Fraction(1, 25), i, i, 4, 4, data))
            time.sleep(0.01)
        wait_for(lambda: frames.skipped >= 15)
        assert frames.receive(2)[0]["frame_id"] == 19


def test_peers_that_send_rubbish_hurt_nobody():
    with RunningBus() as bus, LabelSubscriber(bus.labels, timeout_s=5) as labels:
        port = int(bus.labels.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as raw, zmq.Context() as context:
            raw.sendall(b"GET / HTTP/1.0\r\n\r\n" * 10)
            peer = context.socket(zmq.XSUB)
            peer.connect(bus.labels)
            for rubbish in (b"", b"\x07hello", b"\x00never subscribed", b"\x01" + b"x" * 70_000, b"\x01L/cam1/zzz"):
                peer.send(rubbish)
            peer.close(linger=200)
            assert bus.publisher.wait_subscriber(5)
            bus.put(bus_state(0))
            assert next(iter(labels)).body["seq"] == 0


def test_a_port_in_use_is_said_in_one_line_with_a_remedy():
    with RunningBus() as bus:
        second = Publisher(BusSettings(labels=bus.labels), "run-2", ["cam1"])
        with pytest.raises(AddressInUse, match=rf"{bus.labels} is in use .*--labels tcp://127.0.0.1:PORT") as error:
            second.bind()
        assert "\n" not in str(error.value)
        second.close()


def test_an_ipc_path_in_use_is_not_taken_away(tmp_path):
    address = f"ipc://{tmp_path}/bus"
    with RunningBus(labels=address) as bus, LabelSubscriber(address, timeout_s=5) as labels:
        assert bus.publisher.wait_subscriber(5)
        with pytest.raises(AddressInUse, match="in use"):
            Publisher(BusSettings(labels=address), "run-2", ["cam1"]).bind()
        bus.put(bus_state(0))
        assert next(iter(labels)).body["seq"] == 0


def test_an_ipc_path_never_replaces_a_file(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(AddressRefused, match="no socket"):
        Publisher(BusSettings(labels=f"ipc://{tmp_path}/notes.txt"), "run", ["cam1"]).bind()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(AddressRefused, match="does not exist"):
        Publisher(BusSettings(labels=f"ipc://{tmp_path}/nowhere/bus"), "run", ["cam1"]).bind()


@pytest.mark.parametrize(
    "address",
    [
        "tcp://0.0.0.0:5555",
        "tcp://*:5555",
        "tcp://192.168.0.7:5555",
        "tcp://[::]:5555",
        "tcp://eth0:5555",
        "tcp://lo:5555",
        "tcp://127.0.0.1:99999",
        "tcp://127.0.0.1:port",
        "tcp://127.0.0.1",
        "tcp://",
        "tcp://10.0.0.1:5;127.0.0.1:5555",
        "inproc://",
        "ipc://",
    ],
)
def test_only_this_machine_may_be_bound(address):
    publisher = Publisher(BusSettings(labels=address), "run", ["cam1"])
    with pytest.raises(AddressRefused, match="--labels") as error:
        publisher.bind()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("address", ["tcp://localhost:0", "tcp://127.5.6.7:*", "tcp://[::1]:*"])
def test_all_names_of_this_machine_may_be_bound(address):
    if "::1" in address and not _has_ipv6():
        pytest.skip("no IPv6 here")
    with RunningBus(labels=address) as bus, LabelSubscriber(bus.labels, timeout_s=5) as labels:
        assert bus.publisher.wait_subscriber(5)
        bus.put(bus_state(0))
        assert next(iter(labels)).body["seq"] == 0


def _has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_without_sockets_there_is_nobody_to_wait_for():
    with RunningBus(labels="off") as bus:
        assert bus.labels is None and bus.frames is None
        assert not bus.publisher.wait_subscriber(30) and not bus.publisher.frames_wanted("cam1")
        bus.put(bus_state(0))
        assert bus.end() < 2


def test_a_publisher_that_never_served_leaves_its_port():
    with Publisher(BusSettings(labels="tcp://127.0.0.1:*"), "run", ["cam1"]) as publisher:
        publisher.bind()
        address = publisher.labels_address
    with RunningBus(labels=address):
        pass
