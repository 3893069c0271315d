"""A publisher at work on a free port, fed by hand, and readers in other processes; for tests of the bus."""

from __future__ import annotations

import select
import subprocess
import sys
import threading
import time
from dataclasses import replace

from scene_states import make_state

from config.schema import BusSettings
from streamer.channel import Inbox
from streamer.events import Ended
from streamer.publish import Publisher
from streamer.state import SceneState
from streamer.worker import Worker


def bus_state(
    seq: int, source: str = "cam1", *, scene: str = "kitchen", changed: bool = False, cut: bool = False, epoch: int = 0
) -> SceneState:
    """A state of `source` whose frame was captured just now."""
    state = make_state(scene=scene, pts=seq, seq=seq, cut=cut, epoch=epoch)
    frame = replace(state.frame, source=source, t_capture_ns=time.time_ns())
    return replace(state, frame=frame, belief=replace(state.belief, changed=changed))


class RunningBus:
    """A publisher whose thread runs until `end`; leaving the context cancels what is left."""

    def __init__(self, sources: tuple[str, ...] = ("cam1",), *, frames: bool = False, **options) -> None:
        settings = {"labels": "tcp://127.0.0.1:*", "frames": "tcp://127.0.0.1:*" if frames else "off"}
        settings |= {key: options.pop(key) for key in ("labels", "heartbeat_s", "encoding") if key in options}
        self.stop = threading.Event()
        self.sources = sources
        self.publisher = Publisher(BusSettings(**settings), "run-1", sources, stop=self.stop, **options)
        self.publisher.bind()
        self.labels, self.frames = self.publisher.labels_address, self.publisher.frames_address
        self.inbox: Inbox = Inbox()
        self.items = self.inbox.lane(64, "every")
        self.encoded = self.inbox.lane(2, "latest")
        self.worker = Worker("publisher", lambda: self.publisher.serve(self.inbox), inputs=[self.inbox])
        self.worker.start()

    def put(self, *states: SceneState) -> None:
        for state in states:
            self.items.put(state)

    def end(self, cause: str = "end") -> float:
        """End all sources; seconds until the publisher's thread was gone."""
        started = time.monotonic()
        for source in self.sources:
            self.items.put(Ended(source, cause))
        self.items.close()
        self.encoded.close()
        assert self.worker.join(10), "the publisher did not end"
        return time.monotonic() - started

    def __enter__(self) -> RunningBus:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.inbox.cancel()
        assert self.worker.join(10), "the publisher did not end"
        if self.worker.error is not None:
            raise self.worker.error


_READER = """
import json, sys, time
from streamer.client import LabelSubscriber
address, pause_s = sys.argv[1], float(sys.argv[2])
with LabelSubscriber(address, kinds=("L", "E", "H"), timeout_s=10) as messages:
    for message in messages:
        print(message.topic, message.body["type"], message.body["seq"], flush=True)
        time.sleep(pause_s)
        if message.body["type"] == "bye":
            break
    print("lost", messages.lost, "garbage", messages.garbage)
"""

_PLAIN_READER = """
import sys, time, zmq, msgpack
socket = zmq.Context().socket(zmq.SUB)
socket.rcvhwm = 100_000  # as docs/protocol.md advises
socket.subscribe(b"")
socket.rcvtimeo = 10000
socket.connect(sys.argv[1])
while True:
    topic, body = socket.recv_multipart()
    body = msgpack.unpackb(body)
    print(topic.decode(), body["type"], body["seq"], flush=True)
    time.sleep(float(sys.argv[2]))
    if body["type"] == "bye":
        break
"""


def reader(address: str, pause_s: float = 0.0, *, plain: bool = False) -> subprocess.Popen:
    """A process that prints topic, type and seq of every message until `bye`, with a pause after each.

    `plain`: with pyzmq and msgpack alone, as somebody without this package would.
    """
    code = _PLAIN_READER if plain else _READER
    return subprocess.Popen([sys.executable, "-c", code, address, str(pause_s)], stdout=subprocess.PIPE, text=True)


def wait_until_it_reads(process: subprocess.Popen) -> None:
    """Wait for the first line of a `reader`: it gets heartbeats, so its subscriptions are there."""
    assert select.select([process.stdout], [], [], 20)[0], "the reader did not start"
