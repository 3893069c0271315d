"""The inference worker: the frames of all sources through the networks, several at a time, out in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from functools import partial

from models.cadence import Cadence
from models.prediction import Prediction
from models.recognizer import Recognizer, Segmentation
from streamer.channel import EndOfChannel, Inbox
from streamer.events import CaptureItem, Ended, Opened, StreamItem
from streamer.frame import Frame
from streamer.sources.base import SourceInfo
from streamer.state import Drops
from streamer.track import Track
from streamer.turns import Turns
from streamer.worker import Worker

_LOOK_AHEAD = 16
"""Frames that a lane takes at most while their segmentation is still being made; at 25 fps they reach the next one."""

_GLANCE_S = 0.01


@dataclass(frozen=True, slots=True)
class Batching:
    """How many waiting frames go through the networks together, and how long the first of them waits for the others.

    size: 1 takes each alone.
    wait_s: seconds.
    """

    size: int = 1
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Job:
    """An item on its way. `key` is the segmentation that a frame is named with: one's own, or `reused`."""

    item: CaptureItem
    key: Future[Segmentation] | None = None
    reused: bool | None = None

    @property
    def waits(self) -> bool:
        """Whether its key is still being made, by another lane."""
        return self.key is not None and bool(self.reused) and not self.key.done()


class Inference:
    """Body of the inference thread.

    Each lane is a thread with a recognizer of its own. They take frames in turn, work side by side, and hand their
    results on in turn, so that smoothing sees the frames in order.

    Args:
        inbox: frames and events of all sources.
        tracks: per source name, its way from prediction to state.
        drops: per source name, how many frames it has lost before they came here.
        deliver: takes states and events, in order per source; it may block.
        stop: once set, frames that still wait are left unlabelled, so that the end comes soon.
        lanes: one recognizer for each thread.
        cadence: makes what decides when a source's segmentations are reused; None where they never are.
        batching: of frames that wait at the same time.
    """

    def __init__(
        self,
        inbox: Inbox[CaptureItem],
        tracks: Mapping[str, Track],
        drops: Mapping[str, Callable[[], Drops]],
        deliver: Callable[[StreamItem], None],
        stop: threading.Event,
        lanes: Sequence[Recognizer],
        cadence: Callable[[SourceInfo], Cadence | None],
        batching: Batching = Batching(),
    ) -> None:
        self._inbox = inbox
        self._tracks = tracks
        self._drops = drops
        self._deliver = deliver
        self._stop = stop
        self._lanes = lanes
        self._cadence = cadence
        self._batching = batching
        self._turns = Turns()
        self._cadences: dict[str, Cadence] = {}
        self._keys: dict[str, Future[Segmentation]] = {}
        self._complete: set[str] = set()  # sources that lose no frame, of which a label may come late

    def run(self) -> None:
        """Serve until every source has ended. An error of the networks ends all lanes and is raised here."""
        workers = [
            Worker(f"inference lane {number}", partial(self._serve, lane))
            for number, lane in enumerate(self._lanes, start=1)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for worker in workers:
            if worker.error is not None:
                raise worker.error

    def _serve(self, lane: Recognizer) -> None:
        """Take, work, hand on, until nothing comes any more."""
        try:
            while True:
                jobs, turn = self._turns.take(self._take)
                predictions = self._predict(lane, jobs)
                with turn:
                    for job, prediction in zip(jobs, predictions, strict=True):
                        self._finish(job, prediction)
        except EndOfChannel:
            pass
        except BaseException:
            self._turns.break_off()
            self._inbox.cancel()
            raise

    def _take(self) -> list[_Job]:
        """The next items: one, or as many frames as wait, up to a batch. Lanes are in here one at a time.

        A lane that would only wait for another one's segmentation takes the frames up to the next key as well: so both
        segment at the same time, and each names its frames when the segmentation that they need is there.
        """
        jobs = [self._job(self._inbox.get())]
        try:
            while len(jobs) < self._batching.size and isinstance(jobs[-1].item, Frame):
                jobs.append(self._job(self._inbox.get(timeout_s=self._batching.wait_s)))
        except (TimeoutError, EndOfChannel):
            pass
        while len(jobs) < _LOOK_AHEAD and jobs[-1].waits and jobs[-1].item.source in self._complete:
            try:
                jobs.append(self._job(self._inbox.get(timeout_s=_GLANCE_S)))
            except TimeoutError:
                continue
            except EndOfChannel:
                break
        return jobs

    def _job(self, item: CaptureItem) -> _Job:
        if isinstance(item, Opened):
            self._open(item)
        if not isinstance(item, Frame) or item.source not in self._cadences:
            return _Job(item)
        reused = self._cadences[item.source].reuses(item.image, item.seconds, item.epoch)
        if not reused:
            self._keys[item.source] = Future()
        return _Job(item, self._keys[item.source], reused)

    def _open(self, opened: Opened) -> None:
        if opened.policy == "every":
            self._complete.add(opened.source)
        if (cadence := self._cadence(opened.info)) is not None:
            self._cadences[opened.source] = cadence

    def _predict(self, lane: Recognizer, jobs: Sequence[_Job]) -> Sequence[Prediction | None]:
        """What the networks say of each item that is a frame; None for what is none, and after `stop`."""
        own = [job for job in jobs if job.key is not None and not job.reused]
        if self._stop.is_set():
            for job in own:
                job.key.cancel()  # type: ignore[union-attr]
            return [None] * len(jobs)
        if own:
            _make_keys(lane, own)
        alone = [job.item.image for job in jobs if isinstance(job.item, Frame) and job.key is None]
        found = iter(lane.predict_batch(alone) if alone else ())
        return [
            None if not isinstance(job.item, Frame) else next(found) if job.key is None else _by_key(lane, job)
            for job in jobs
        ]

    def _finish(self, job: _Job, prediction: Prediction | None) -> None:
        item = job.item
        if isinstance(item, Ended):
            self._deliver(replace(item, drops=self._drops[item.source]()))
        elif not isinstance(item, Frame):
            self._deliver(item)
        elif prediction is not None:
            track = self._tracks[item.source]
            self._deliver(track.advance(item, prediction, self._drops[item.source](), job.reused))


def _make_keys(lane: Recognizer, jobs: Sequence[_Job]) -> None:
    """Segment the frames that later ones may be named with; those wait for it, in whatever lane."""
    keys = [job.key for job in jobs if job.key is not None]
    try:
        segmentations = lane.segment_batch([job.item.image for job in jobs if isinstance(job.item, Frame)])
    except BaseException as error:
        for key in keys:
            key.set_exception(error)
        raise
    for key, segmentation in zip(keys, segmentations, strict=True):
        key.set_result(segmentation)


def _by_key(lane: Recognizer, job: _Job) -> Prediction | None:
    """Name a frame with the segmentation of its key."""
    assert isinstance(job.item, Frame)
    assert job.key is not None
    try:
        return lane.predict_with(job.item.image, job.key.result())
    except CancelledError:
        return None  # the run stops
