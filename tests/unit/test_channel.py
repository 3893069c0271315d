"""Channels end, break and are given up; no thread waits for a dead one."""

from __future__ import annotations

import threading
import time

import pytest

from streamer.channel import Channel, EndOfChannel, Inbox
from streamer.errors import ChannelClosed
from streamer.worker import Worker


def in_thread(work) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_items_come_in_order_and_then_the_end():
    channel: Channel[int] = Channel(3)
    for i in range(3):
        channel.put(i)
    channel.close()
    assert list(channel) == [0, 1, 2]
    with pytest.raises(EndOfChannel):
        channel.get()


def test_an_error_comes_after_what_is_queued():
    channel: Channel[int] = Channel(3)
    channel.put(1)
    channel.close(ValueError("boom"))
    assert channel.get() == 1
    with pytest.raises(ValueError, match="boom"):
        channel.get()


def test_latest_keeps_the_newest_and_counts_the_rest():
    channel: Channel[int] = Channel(2, "latest")
    for i in range(5):
        channel.put(i)
    assert [channel.get(), channel.get()] == [3, 4]
    assert channel.dropped == 3


def test_latest_never_drops_what_must_arrive():
    channel: Channel[str] = Channel(2, "latest")
    channel.put("opened", droppable=False)
    for name in ("a", "b", "c"):
        channel.put(name)
    assert [channel.get(), channel.get()] == ["opened", "c"]


def test_every_waits_for_room():
    channel: Channel[int] = Channel(1)
    channel.put(0)
    sender = in_thread(lambda: channel.put(1))
    time.sleep(0.05)
    assert sender.is_alive()
    assert [channel.get(1), channel.get(1)] == [0, 1]
    sender.join(1)
    assert not sender.is_alive()


def test_a_sender_that_waits_wakes_when_the_receiver_gives_up():
    channel: Channel[int] = Channel(1)
    channel.put(0)
    seen = []

    def send() -> None:
        try:
            channel.put(1)
        except ChannelClosed:
            seen.append("closed")

    sender = in_thread(send)
    time.sleep(0.05)
    channel.cancel()
    sender.join(1)
    assert seen == ["closed"]


def test_get_gives_up_in_time():
    with pytest.raises(TimeoutError):
        Channel(1).get(timeout_s=0.01)


def test_a_channel_needs_room():
    with pytest.raises(ValueError, match="room"):
        Channel(0)


def test_an_inbox_serves_its_lanes_in_turn():
    inbox: Inbox[str] = Inbox()
    busy, quiet = inbox.lane(10), inbox.lane(10)
    for i in range(4):
        busy.put(f"busy{i}")
    quiet.put("quiet0")
    busy.close()
    quiet.close()
    assert list(inbox) == ["busy0", "quiet0", "busy1", "busy2", "busy3"]


def test_an_inbox_that_gives_up_frees_every_sender():
    inbox: Inbox[int] = Inbox()
    lanes = [inbox.lane(1), inbox.lane(1)]
    for lane in lanes:
        lane.put(0)
    failures = []

    def send(lane: Channel[int]) -> None:
        try:
            lane.put(1)
        except ChannelClosed:
            failures.append(lane)

    senders = [in_thread(lambda lane=lane: send(lane)) for lane in lanes]
    time.sleep(0.05)
    inbox.cancel()
    for sender in senders:
        sender.join(1)
    assert len(failures) == 2


def test_a_worker_that_raises_with_a_full_channel_ends_its_neighbours():
    """Known from elsewhere: the reader raises while the read queue is full, and the pipeline hangs for ever."""
    queue: Channel[int] = Channel(1)
    result: Channel[int] = Channel(1)

    def produce() -> None:
        for i in range(1000):
            queue.put(i)

    def consume() -> None:
        queue.get()
        time.sleep(0.05)  # the producer fills the channel meanwhile
        raise RuntimeError("the callback failed")

    producer = Worker("producer", produce, outputs=[queue])
    consumer = Worker("consumer", consume, inputs=[queue], outputs=[result])
    producer.start()
    consumer.start()
    with pytest.raises(RuntimeError, match="the callback failed"):
        result.get(timeout_s=5)
    assert producer.join(5)
    assert consumer.join(5)
    assert producer.error is None
    assert isinstance(consumer.error, RuntimeError)
