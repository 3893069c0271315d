"""The whole flow in one place: build, connect, run, stop.

    source --(capture thread, one per camera)--> inbox --> inference worker --> publisher thread --> labels, events
                                                                           \\-> rules --> publisher, webhooks, commands
                                                                           \\-> annotator --> publisher --> frames
                                                                           \\-> open_stream's caller

`Pipeline` is everything up to the states; `run` puts the bus behind it, `open_stream` the caller's own loop.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from config.errors import UserError
from config.schema import CadenceSettings, ModelSettings, Settings
from models.cadence import Cadence
from models.cores import usable_cores
from models.recognizer import Recognizer, load_recognizer
from streamer.address import open_source, parse
from streamer.annotator import Annotator
from streamer.capture import Capture
from streamer.channel import Channel, Inbox
from streamer.closing import Closing
from streamer.errors import SourceError, StuckError
from streamer.events import CaptureItem, Ended, Opened, StreamItem
from streamer.inference import Batching, Inference
from streamer.overlay import Overlay
from streamer.publish import BusItem, Publisher
from streamer.rules.live import LiveRules
from streamer.sources.base import Source, SourceInfo
from streamer.state import SceneState
from streamer.track import Past, Track
from streamer.worker import Worker

_log = logging.getLogger(__name__)

STOP_DEADLINE_S = 5.0
"""A stop ends within this time, whatever hangs."""

_QUEUED_STATES = 8  # behind the networks; each holds its frame
_QUEUED_PICTURES = 2
_GPU_BATCH = 8
_POLL_S = 0.05
_MARGIN_S = 0.5  # of the deadline, for the interpreter's own end


class Pipeline:
    """Capture threads and the inference worker; what they find goes to `deliver`.

    Args:
        sources: not opened yet; each gets its own thread.
        settings: pace, policy, smoothing, cuts.
        deliver: takes states and events in order per source, in the inference thread; it may block.
        outputs: the channels that `deliver` fills; closed when the inference ends.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        settings: Settings,
        deliver: Callable[[StreamItem], None],
        outputs: Sequence[Channel[Any]],
    ) -> None:
        self.settings = settings
        self.stop = threading.Event()
        self.go = threading.Event()
        """Frames are held back until this is set."""
        self.workers: list[Worker] = []
        self._deliver = deliver
        self._outputs = outputs
        self._inbox: Inbox[CaptureItem] = Inbox()
        self._captures = [self._capture(source) for source in sources]

    def _capture(self, source: Source) -> Capture:
        return Capture(source, self._inbox.lane(), self.settings.capture, self.go, self.stop)

    def start_captures(self) -> None:
        """Open the sources, each in its thread: a slow camera and the model load at the same time."""
        for capture in self._captures:
            self.start(Worker(f"capture {capture.name}", capture.run, outputs=[capture.output]))

    def start_inference(self, lanes: Sequence[Recognizer], past: Past | None = None) -> None:
        """Serve what the captures read, with a thread for each recognizer; one source may go on from a past."""
        tracks = {capture.name: past.track if past else Track(lanes[0], self.settings) for capture in self._captures}
        inference = Inference(
            self._inbox,
            tracks=tracks,
            drops={capture.name: capture.drops for capture in self._captures},
            deliver=self._deliver,
            stop=self.stop,
            lanes=lanes,
            cadence=partial(cadence_for, self.settings.cadence),
            batching=batching_for(self.settings.model, lanes[0]),
        )
        self.start(Worker("inference", inference.run, inputs=[self._inbox], outputs=self._outputs))

    def start(self, worker: Worker) -> None:
        """Start a worker whose death ends the run."""
        self.workers.append(worker)
        worker.start()

    def failure(self) -> BaseException | None:
        """Why the run must end: the error of a source, or of a thread that died."""
        errors = [capture.error for capture in self._captures] + [worker.error for worker in self.workers]
        return next((error for error in errors if error is not None), None)

    def abandon(self, error: BaseException | None = None) -> None:
        """End without delivering what is queued, or because something outside the threads failed."""
        self.stop.set()
        self._inbox.cancel()
        for channel in self._outputs:
            channel.close(error)

    def join(self, deadline_s: float) -> list[str]:
        """Wait for all threads together; the names of those that did not end in time."""
        end = time.monotonic() + deadline_s
        return [worker.name for worker in self.workers if not worker.join(max(0.0, end - time.monotonic()))]


def run(
    uris: Sequence[str],
    names: Sequence[str],
    settings: Settings,
    *,
    interrupted: threading.Event,
    observe: Callable[[StreamItem], None] | None = None,
    ready: Callable[[Publisher], None] | None = None,
) -> None:
    """Recognise and publish until every source has ended, or `interrupted` is set.

    Args:
        uris: addresses of the sources.
        names: none, or a name for each.
        settings: everything else.
        interrupted: set it to end the run; queued labels are still delivered.
        observe: sees every state and event, in the inference thread.
        ready: called once the sockets are bound, before anything is loaded.

    Raises:
        UserError: what the user can mend: a source, an address, a model.
        StuckError: a thread hangs in a library call and did not end in time.
    """
    sources = open_sources(uris, names, settings)
    inbox: Inbox[BusItem] = Inbox()
    to_bus = inbox.lane(_QUEUED_STATES)
    to_annotator: Channel[SceneState] = Channel(_QUEUED_PICTURES, "every" if lossless(uris, settings) else "latest")

    run_id = str(uuid.uuid4())
    rules = LiveRules(settings.rules, run_id, [source.name for source in sources], to_bus.put)

    def deliver(item: StreamItem) -> None:
        to_bus.put(item)
        rules.take(item)
        if isinstance(item, SceneState) and publisher.frames_wanted(item.source):
            to_annotator.put(item)
        if observe is not None:
            observe(item)

    pipeline = Pipeline(sources, settings, deliver, [to_bus, to_annotator, *rules.outputs])
    publisher = Publisher(
        settings.bus,
        run_id,
        [source.name for source in sources],
        lossless=lossless(uris, settings),
        stop=pipeline.stop,
    )
    publisher.bind()
    _start_bus(pipeline, publisher, inbox, to_annotator)
    for worker in rules.workers:
        pipeline.start(worker)
    try:
        if ready is not None:
            ready(publisher)
        pipeline.start_captures()
        lanes = lane_count(uris, settings)
        recognizer = recognizer_for(settings.model, lanes)
        rules.check(recognizer.package)
        pipeline.start_inference(lanes_of(recognizer, lanes))
        _hold(pipeline, publisher, interrupted)
        pipeline.go.set()
    except BaseException as error:
        pipeline.abandon(error)
        pipeline.join(STOP_DEADLINE_S)
        raise
    _wait(pipeline, interrupted)


def _start_bus(
    pipeline: Pipeline, publisher: Publisher, inbox: Inbox[BusItem], to_annotator: Channel[SceneState]
) -> None:
    """The publisher from the start, so that heartbeats say that a run is coming; the annotator if frames are bound."""
    if publisher.frames_address is not None:
        encoded = inbox.lane(_QUEUED_PICTURES)
        overlay = pipeline.settings.overlay
        annotator = Annotator(Overlay(overlay).draw, overlay.jpeg_quality, publisher.frames_wanted, encoded.put)
        body = partial(annotator.run, to_annotator)
        pipeline.start(Worker("annotator", body, inputs=[to_annotator], outputs=[encoded]))
    pipeline.start(Worker("publisher", partial(publisher.serve, inbox), inputs=[inbox]))


def _hold(pipeline: Pipeline, publisher: Publisher, interrupted: threading.Event) -> None:
    """Hold the first frame until somebody subscribes, the time for that is over, or the run has failed."""
    end = time.monotonic() + pipeline.settings.bus.wait_subscriber_s
    while (remaining_s := end - time.monotonic()) > 0 and pipeline.failure() is None and not interrupted.is_set():
        if publisher.wait_subscriber(min(_POLL_S, remaining_s), interrupted):
            return


def _wait(pipeline: Pipeline, interrupted: threading.Event) -> None:
    """Wait for the end; stop everything when the run is interrupted or one part of it fails."""
    while any(worker.alive for worker in pipeline.workers):
        if interrupted.is_set() or pipeline.failure() is not None:
            _stop(pipeline)
            break
        interrupted.wait(_POLL_S)
    error = pipeline.failure()
    # Who interrupts a camera that does not answer wants no word about the camera.
    if error is not None and not (interrupted.is_set() and isinstance(error, SourceError)):
        raise error


def _stop(pipeline: Pipeline) -> None:
    pipeline.stop.set()
    stuck = pipeline.join(STOP_DEADLINE_S - _MARGIN_S)
    if stuck:
        raise StuckError(f"gave up waiting for {', '.join(stuck)}: a library call there does not return")


def lossless(uris: Sequence[str], settings: Settings) -> bool:
    """Whether no frame and no label may be dropped: for recordings, unless the policy says otherwise."""
    policy = settings.capture.policy
    return policy == "every" or (policy == "auto" and not any(parse(uri).live for uri in uris))


class SceneStream(Closing):
    """The scene states of one source, as an iterator and a context manager. See `open_stream`."""

    def __init__(
        self, source: Source, settings: Settings, lanes: int, recognizer: Recognizer | None, past: Past | None
    ) -> None:
        self._items: Channel[StreamItem] = Channel(_QUEUED_STATES)
        self._pipeline = Pipeline([source], settings, self._items.put, [self._items])
        self._pipeline.start_captures()
        try:
            recognizer = recognizer or recognizer_for(settings.model, lanes)
            self._pipeline.start_inference(lanes_of(recognizer, lanes), past)
            self.info = self._opened()
            """What is known of the source: size, rate, expected number of frames."""
        except BaseException:
            self.close()
            raise
        self._pipeline.go.set()

    def _opened(self) -> SourceInfo:
        for item in self._items:
            if isinstance(item, Opened):
                return item.info
            if isinstance(item, Ended) and item.error is not None:
                raise item.error
        raise SourceError("the source ended before it was open")

    def __iter__(self) -> Iterator[SceneState]:
        """States in the order of the frames.

        Raises:
            SourceError: the source failed; every state before that was given.
        """
        try:
            for item in self._items:
                if isinstance(item, SceneState):
                    yield item
                elif isinstance(item, Ended) and item.error is not None:
                    raise item.error
        finally:
            self.close()

    def close(self) -> None:
        """Stop the threads and close the source; may be called twice, and while another thread iterates."""
        self._items.cancel()
        self._pipeline.abandon()
        self._pipeline.join(STOP_DEADLINE_S)


def open_stream(
    uri: str,
    *,
    settings: Settings | None = None,
    name: str | None = None,
    recognizer: Recognizer | None = None,
    past: Past | None = None,
) -> SceneStream:
    """Name the scene of every frame of a source.

        with open_stream("street.mp4") as stream:
            for state in stream:
                print(state.frame.seconds, state.scene, state.p)

    Args:
        uri: a file, a folder or glob of pictures, rtsp://, http(s)://, a camera number or /dev/videoN, synthetic:
        settings: everything else; defaults as in `config.schema`.
        name: the source's name; default by the URI.
        recognizer: a loaded model to share between streams, one after the other; default: `settings.model`.
        past: go on after an earlier run over the same recording, with the next frame; default: from the start.

    Raises:
        SourceError: the source cannot be opened.
        ModelError: the model cannot be loaded.
    """
    settings = settings or Settings()
    source = open_source(uri, name, settings.capture)
    if past is not None:
        source.resume(past.mark)
    return SceneStream(source, settings, lane_count([uri], settings), recognizer, past)


def lane_count(uris: Sequence[str], settings: Settings) -> int:
    """How many frames the networks work on at once: one for a live source, whose frame is soonest done when all cores
    work on it; one a core where frames wait anyway, which is quicker for all of them together.
    """
    if settings.model.lanes is not None:
        return settings.model.lanes
    return usable_cores() if lossless(uris, settings) else min(len(uris), usable_cores())


def lanes_of(recognizer: Recognizer, count: int) -> list[Recognizer]:
    """A recognizer and others beside it on the same networks, `count` in all."""
    return [recognizer] + [recognizer.lane() for _ in range(count - 1)]


def batching_for(model: ModelSettings, recognizer: Recognizer) -> Batching:
    """How many frames go through the networks together; a CPU gains nothing by it."""
    usual = _GPU_BATCH if recognizer.device.startswith("cuda") else 1
    return Batching(model.batch or usual, model.batch_wait_s)


def cadence_for(settings: CadenceSettings, source: SourceInfo) -> Cadence | None:
    """What decides when segmentations of a source are reused; None where they never are."""
    enabled = source.live if settings.enabled == "auto" else settings.enabled
    return Cadence(settings.threshold, settings.max_age_s) if enabled else None


def recognizer_for(model: ModelSettings, lanes: int = 1) -> Recognizer:
    """Load the model that the settings ask for, to run in `lanes` threads."""
    recognizer = load_recognizer(
        model.name,
        backend=model.backend,
        device=model.device,
        threads=model.threads,
        segmenter=model.segmenter,
        semantics=model.semantics,
        precision=model.precision,
        lanes=lanes,
    )
    _log.info("model %s on %s, %s", model.name, recognizer.engine, recognizer.device)
    if recognizer.resizes_on == "device":
        _log.info("frames go up to %s as they are, and are resized there", recognizer.device)
    if model.segmenter is not None:
        _log.info("semantics by %s, %d-based labels", recognizer.segmenter, model.semantics.label_base)
    return recognizer


def open_sources(uris: Sequence[str], names: Sequence[str], settings: Settings) -> list[Source]:
    """Sources for several URIs, not opened yet, each with a name of its own.

    Args:
        uris: one or more addresses.
        names: none, or one for each address.

    Raises:
        UserError: the numbers differ, two names are equal, or an address means nothing.
    """
    if names and len(names) != len(uris):
        raise UserError(f"{len(uris)} sources need as many --name, not {len(names)}")
    sources = [open_source(uri, names[i] if names else None, settings.capture) for i, uri in enumerate(uris)]
    taken = [source.name for source in sources]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise UserError(f"two sources are called {twice[0]!r}; tell them apart with --name, once per --source")
    return sources
