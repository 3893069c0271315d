"""The pipeline as a whole: every frame in order, clean ends, errors that travel. Only the networks are faked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import pytest
from fakes import breaks_at, fake_recognizer

import streamer.app
from config.errors import UserError
from config.loader import load_settings
from streamer import open_stream
from streamer.app import run
from streamer.client import LabelSubscriber
from streamer.errors import SourceError, SourceLost, StuckError
from streamer.events import Ended, Reconnected
from streamer.sources.synthetic import SyntheticSource
from streamer.state import SceneState

DEADLINE_S = 5.0
BUS = "bus.labels=tcp://127.0.0.1:*"


def pipeline_threads() -> list[str]:
    names = ("capture", "inference", "publisher", "annotator")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


def wait_for(condition) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def within_deadline() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < DEADLINE_S
    assert pipeline_threads() == []


@pytest.fixture
def faked(monkeypatch):
    """`run` gets a fake recognizer, given by the test."""

    def use(recognizer) -> None:
        monkeypatch.setattr(streamer.app, "recognizer_for", lambda model, lanes=1: recognizer)

    use(fake_recognizer())
    return use


# ---------------------------------------------------------------- open_stream


def test_every_frame_of_a_recording_comes_out_in_order():
    with open_stream("synthetic:?frames=60&fps=30000/1001", recognizer=fake_recognizer()) as stream:
        assert stream.info.frame_count == 60
        states = list(stream)
    assert [state.seq for state in states] == list(range(60))
    assert [state.frame.pts * state.frame.time_base for state in states] == [
        i * Fraction(1001, 30000) for i in range(60)
    ]
    assert pipeline_threads() == []


def test_leaving_a_stream_early_leaves_no_thread():
    with within_deadline(), open_stream("synthetic:?frames=100000", recognizer=fake_recognizer()) as stream:
        for state in stream:
            if state.seq == 5:
                break


def test_networks_that_fail_with_full_channels_end_the_stream_with_their_error():
    recognizer = fake_recognizer(breaks_at(7, seconds=0.2))
    with within_deadline():
        stream = open_stream("synthetic:?frames=100000", recognizer=recognizer)
        with pytest.raises(RuntimeError, match="the networks failed"):
            for _ in stream:
                pass


def test_a_source_that_cannot_be_opened_says_so(tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("not a video at all\n" * 50)
    with within_deadline(), pytest.raises(SourceError, match=r"notes\.mp4"):
        open_stream(str(text), recognizer=fake_recognizer())


def test_max_frames_ends_a_source():
    settings = load_settings(None, ["capture.max_frames=7"])
    with open_stream("synthetic:", settings=settings, recognizer=fake_recognizer()) as stream:
        assert len(list(stream)) == 7


def test_a_live_source_faster_than_the_networks_drops_by_count():
    slow = fake_recognizer(lambda number: time.sleep(0.05))
    settings = load_settings(None, ["capture.max_frames=60"])
    with open_stream("synthetic:?realtime=1&fps=100", settings=settings, recognizer=slow) as stream:
        states = list(stream)
    assert len(states) < 40
    # Every frame was seen or counted as dropped; the last is never dropped.
    assert len(states) + states[-1].drops.queue == 60
    assert states[-1].frame.frame_id == 59
    assert [state.seq for state in states] == list(range(len(states)))


def test_a_recording_plays_at_its_own_speed_when_asked():
    settings = load_settings(None, ["capture.realtime=true"])
    started = time.monotonic()
    with open_stream("synthetic:?frames=11&fps=10", settings=settings, recognizer=fake_recognizer()) as stream:
        assert len(list(stream)) == 11
    assert time.monotonic() - started > 0.95


# ------------------------------------------------------------------------ run


def test_run_publishes_every_label_and_says_bye(faked):
    settings = load_settings(None, [BUS, "bus.wait_subscriber_s=5"])
    bodies, readers = [], []

    def read(publisher) -> None:
        def collect() -> None:
            with LabelSubscriber(publisher.labels_address, kinds=("L", "E")) as subscriber:
                bodies.extend(message.body for message in subscriber)

        readers.append(threading.Thread(target=collect, daemon=True))
        readers[0].start()

    with within_deadline():
        run(["synthetic:?frames=50"], ["cam"], settings, interrupted=threading.Event(), ready=read)
    readers[0].join(5)
    labels = [body for body in bodies if body["type"] == "label"]
    assert [body["seq"] for body in labels] == list(range(50))
    assert bodies[-1]["type"] == "bye"
    assert bodies[-1]["cause"] == "end"


def test_two_sources_share_one_worker(faked):
    seen: list[SceneState] = []
    run(
        ["synthetic:?frames=30", "synthetic:?frames=20&seed=1"],
        ["one", "two"],
        load_settings(None, [BUS]),
        interrupted=threading.Event(),
        observe=lambda item: seen.append(item) if isinstance(item, SceneState) else None,
    )
    for name, count in (("one", 30), ("two", 20)):
        assert [s.seq for s in seen if s.source == name] == list(range(count))


def test_an_interrupt_ends_an_endless_run_in_time(faked):
    interrupted, ends = threading.Event(), []
    threading.Timer(0.3, interrupted.set).start()
    with within_deadline():
        run(
            ["synthetic:"],
            [],
            load_settings(None, [BUS]),
            interrupted=interrupted,
            observe=lambda item: ends.append(item) if isinstance(item, Ended) else None,
        )
    assert [end.cause for end in ends] == ["stop"]


def test_networks_that_fail_end_the_run_with_their_error(faked):
    faked(fake_recognizer(breaks_at(5, seconds=0.2)))
    with within_deadline(), pytest.raises(RuntimeError, match="the networks failed"):
        run(["synthetic:"], [], load_settings(None, [BUS]), interrupted=threading.Event())


def test_a_source_that_fails_ends_the_others_too(faked, tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("not a video at all\n" * 50)
    with within_deadline(), pytest.raises(SourceError, match=r"notes\.mp4"):
        run(["synthetic:", str(text)], [], load_settings(None, [BUS]), interrupted=threading.Event())


def test_a_source_that_never_opens_ends_the_run(faked):
    with socket.create_server(("127.0.0.1", 0)) as silent, within_deadline(), pytest.raises(SourceError):
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/stream"
        run([address], [], load_settings(None, [BUS]), interrupted=threading.Event())


def test_an_interrupt_ends_a_run_whose_source_never_opens(faked):
    interrupted = threading.Event()
    threading.Timer(0.3, interrupted.set).start()
    with socket.create_server(("127.0.0.1", 0)) as silent, within_deadline():
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/stream"
        run([address], [], load_settings(None, [BUS]), interrupted=interrupted)


def test_a_library_call_that_never_returns_is_given_up(faked, monkeypatch):
    """The thread itself cannot be ended; the run says which one it is, and the command then leaves hard."""
    hang = threading.Event()
    faked(fake_recognizer(lambda number: hang.wait() and None))
    monkeypatch.setattr(streamer.app, "STOP_DEADLINE_S", 1.0)
    interrupted = threading.Event()
    threading.Timer(0.2, interrupted.set).start()
    with pytest.raises(StuckError, match="inference"):
        run(["synthetic:"], [], load_settings(None, [BUS]), interrupted=interrupted)
    hang.set()
    wait_for(lambda: pipeline_threads() == [])


def test_a_model_that_cannot_be_loaded_ends_the_run_and_frees_the_address():
    settings = load_settings(None, [BUS, "model=no_such_model"])
    addresses = []
    with within_deadline(), pytest.raises(UserError, match="scene18"):
        run(
            ["synthetic:"],
            [],
            settings,
            interrupted=threading.Event(),
            ready=lambda publisher: addresses.append(publisher.labels_address),
        )
    port = int(addresses[0].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_an_observer_that_fails_ends_the_run(faked):
    def observe(item) -> None:
        if isinstance(item, SceneState) and item.seq == 3:
            raise BrokenPipeError

    with within_deadline(), pytest.raises(BrokenPipeError):
        run(["synthetic:"], [], load_settings(None, [BUS]), interrupted=threading.Event(), observe=observe)


def test_a_lost_live_source_is_opened_again_in_a_new_epoch(faked, monkeypatch):
    decode, lost = SyntheticSource._decode, []

    def flaky(self):
        for shot in decode(self):
            if self._next_id == 5 and not lost:
                lost.append(True)
                raise SourceLost("the camera went silent")
            yield shot

    monkeypatch.setattr(SyntheticSource, "_decode", flaky)
    items = []
    run(
        ["synthetic:?realtime=1&fps=50"],
        ["cam"],
        load_settings(None, [BUS, "capture.max_frames=10", "capture.policy=every"]),
        interrupted=threading.Event(),
        observe=items.append,
    )
    states = [item for item in items if isinstance(item, SceneState)]
    assert [state.frame.epoch for state in states] == [0] * 5 + [1] * 5
    assert any(isinstance(item, Reconnected) and item.epoch == 1 for item in items)
    assert states[5].belief.changed


def test_names_must_differ_and_fit_in_number():
    with pytest.raises(UserError, match="--name"):
        run(["synthetic:", "synthetic:"], [], load_settings(None, [BUS]), interrupted=threading.Event())
    with pytest.raises(UserError, match="2 sources"):
        run(["synthetic:", "synthetic:"], ["a"], load_settings(None, [BUS]), interrupted=threading.Event())
