"""The inference worker: lanes side by side, results in order, segmentations reused, batches under a deadline."""

from __future__ import annotations

import threading
import time
from fractions import Fraction

import numpy as np
import pytest
from fakes import fake_recognizer

from config.loader import load_settings
from models.cadence import Cadence
from models.recognizer import JointRecognizer
from streamer.channel import Inbox
from streamer.events import Ended, Opened
from streamer.frame import Frame
from streamer.inference import Batching, Inference
from streamer.sources.base import SourceInfo
from streamer.state import Drops, SceneState
from streamer.track import Track

DEADLINE_S = 5.0
ALONE = Batching()
INFO = SourceInfo("cam", "cam", False, 64, 36, Fraction(1, 25))


class Counting(JointRecognizer):
    """Notes the sizes of the batches that it is given, and how many work at once."""

    def __init__(self, seconds: float = 0.0, log: list[int] | None = None, fails_at: int | None = None) -> None:
        plain = fake_recognizer()
        super().__init__(plain.package, plain.backend)
        self.seconds, self.fails_at = seconds, fails_at
        self.batches: list[int] = [] if log is None else log

    def lane(self):
        return Counting(self.seconds, self.batches, self.fails_at)

    def predict_batch(self, pictures):
        self.batches.append(len(pictures))
        if self.fails_at is not None and sum(self.batches) > self.fails_at:
            raise RuntimeError("the networks failed")
        time.sleep(self.seconds)
        return super().predict_batch(pictures)


def frame(number: int, level: int = 100) -> Frame:
    return Frame(np.full((36, 64, 3), level, np.uint8), number, Fraction(1, 25), number, "cam", 0, 0, "file")


def serve(frames, recognizer, *, lanes=1, cadence=None, batching=ALONE, stop=None, policy="every", source="cam"):
    """What comes out for these frames; they all wait from the start."""
    inbox: Inbox = Inbox()
    channel = inbox.lane(len(frames) + 2)
    channel.put(Opened(source, INFO, policy))
    for one in frames:
        channel.put(one)
    channel.put(Ended(source, "end"))
    channel.close()
    out: list = []
    inference = Inference(
        inbox,
        tracks={source: Track(recognizer, load_settings(None, []))},
        drops={source: Drops},
        deliver=out.append,
        stop=stop or threading.Event(),
        lanes=[recognizer, *(recognizer.lane() for _ in range(lanes - 1))],
        cadence=lambda info: cadence,
        batching=batching,
    )
    inference.run()
    return out


def states(out) -> list[SceneState]:
    return [item for item in out if isinstance(item, SceneState)]


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_frames_and_events_come_out_in_their_order(lanes):
    out = serve([frame(i) for i in range(60)], Counting(0.001), lanes=lanes)
    assert isinstance(out[0], Opened)
    assert isinstance(out[-1], Ended)
    assert [state.frame.frame_id for state in states(out)] == list(range(60))
    assert [state.seq for state in states(out)] == list(range(60))
    assert all(state.reused is None for state in states(out))


def test_lanes_work_at_the_same_time():
    meeting = threading.Barrier(3, timeout=DEADLINE_S)
    recognizer = fake_recognizer(lambda number: meeting.wait())
    assert len(states(serve([frame(i) for i in range(3)], recognizer, lanes=3))) == 3


@pytest.mark.parametrize("lanes", [1, 3])
def test_an_error_of_the_networks_ends_every_lane_and_is_raised(lanes):
    with pytest.raises(RuntimeError, match="the networks failed"):
        serve([frame(i) for i in range(500)], Counting(0.001, fails_at=9), lanes=lanes)


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_segmentation_serves_the_frames_after_it_while_nothing_changes(lanes):
    recognizer = Counting(0.002)
    levels = [100] * 10 + [200] * 10
    out = states(serve([frame(i, v) for i, v in enumerate(levels)], recognizer, lanes=lanes, cadence=Cadence(0.01, 9)))
    assert [state.reused for state in out] == [i not in (0, 10) for i in range(20)]
    assert len(recognizer.batches) == 2
    # What is reused is the segmentation of the key before the frame, whichever lane made it.
    assert len({state.prediction.scene for state in out[:10]}) == 1
    assert out[9].prediction.scene != out[10].prediction.scene


def test_two_keys_are_segmented_at_the_same_time_with_frames_between_them():
    """Of a recording; on a live source a lane that took frames ahead would make them old."""
    meeting = threading.Barrier(2, timeout=DEADLINE_S)
    recognizer = fake_recognizer(lambda number: meeting.wait())
    levels = [100] * 6 + [200] * 6
    out = states(serve([frame(i, v) for i, v in enumerate(levels)], recognizer, lanes=2, cadence=Cadence(0.01, 9)))
    assert [state.frame.frame_id for state in out] == list(range(12))
    assert [state.reused for state in out] == [i not in (0, 6) for i in range(12)]
    assert out[5].prediction.scene != out[6].prediction.scene


def test_a_live_source_is_not_looked_ahead_of():
    meeting = threading.Barrier(2)
    recognizer = fake_recognizer(lambda number: meeting.wait(0.2))
    levels = [100, 100, 200]
    with pytest.raises(threading.BrokenBarrierError):
        serve(
            [frame(i, v) for i, v in enumerate(levels)], recognizer, lanes=2, cadence=Cadence(0.01, 9), policy="latest"
        )


def test_networks_that_fail_on_a_key_end_those_that_wait_for_it():
    with pytest.raises(RuntimeError, match="the networks failed"):
        serve([frame(i) for i in range(50)], Counting(0.05, fails_at=0), lanes=3, cadence=Cadence(0.01, 9))


@pytest.mark.parametrize("cadence", [None, Cadence(0.01, 9)])
def test_after_a_stop_frames_are_left_unlabelled_and_the_end_still_comes(cadence):
    stop = threading.Event()
    stop.set()
    out = serve([frame(i) for i in range(20)], Counting(), lanes=2, cadence=cadence, stop=stop)
    assert states(out) == []
    assert isinstance(out[-1], Ended)


def test_frames_that_wait_go_through_the_networks_together():
    recognizer = Counting()
    out = serve([frame(i) for i in range(10)], recognizer, batching=Batching(4, 0.01))
    assert [state.frame.frame_id for state in states(out)] == list(range(10))
    assert recognizer.batches == [4, 4, 2]


def test_a_batch_does_not_wait_longer_than_it_may_for_frames_that_do_not_come():
    inbox: Inbox = Inbox()
    channel = inbox.lane(4)
    recognizer, out = Counting(), []
    inference = Inference(
        inbox,
        tracks={"cam": Track(recognizer, load_settings(None, []))},
        drops={"cam": Drops},
        deliver=out.append,
        stop=threading.Event(),
        lanes=[recognizer],
        cadence=lambda info: None,
        batching=Batching(8, 0.02),
    )
    thread = threading.Thread(target=inference.run)
    thread.start()
    channel.put(frame(0))
    end = time.monotonic() + DEADLINE_S
    while not out:
        assert time.monotonic() < end
        time.sleep(0.005)
    channel.close()
    thread.join(DEADLINE_S)
    assert recognizer.batches == [1]


def test_batches_with_and_without_segmentations_to_reuse():
    recognizer = Counting()
    levels = [100, 100, 200, 200, 200, 100]
    out = states(
        serve([frame(i, v) for i, v in enumerate(levels)], recognizer, cadence=Cadence(0.01, 9), batching=Batching(3))
    )
    assert [state.reused for state in out] == [False, True, False, True, True, False]
    assert sum(recognizer.batches) == 3
    assert max(recognizer.batches) == 2
