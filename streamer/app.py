"""The whole flow in one place: build, connect, run, stop.

    source --(capture thread, one per camera)--> inbox lane --> inference worker --> states channel --> publisher
                                                                                                   \\-> open_stream

`Pipeline` is everything up to the states; `run` puts the publisher behind it, `open_stream` the caller's own loop.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from config.errors import UserError
from config.schema import ModelSettings, Settings
from models.recognizer import Recognizer, load_recognizer
from streamer.address import open_source
from streamer.capture import Capture
from streamer.channel import Channel, Inbox
from streamer.errors import SourceError, WorkerError
from streamer.events import CaptureItem, Ended, Opened, StreamItem
from streamer.inference import Inference
from streamer.sources.base import Source, SourceInfo
from streamer.state import SceneState
from streamer.track import Track
from streamer.worker import Worker

STOP_DEADLINE_S = 5.0
"""A stop ends within this time, whatever hangs."""

_QUEUED_STATES = 16  # behind the networks; each holds its frame


class Pipeline:
    """Capture threads and the inference worker; what they find comes out of `states`.

    Args:
        sources: not opened yet; each gets its own thread.
        settings: pace, policy, smoothing, cuts.
    """

    def __init__(self, sources: Sequence[Source], settings: Settings) -> None:
        self.settings = settings
        self.stop = threading.Event()
        self.go = threading.Event()
        """Frames are held back until this is set."""
        self.states: Channel[StreamItem] = Channel(_QUEUED_STATES)
        self._inbox: Inbox[CaptureItem] = Inbox()
        self.captures = [self._capture(source) for source in sources]
        self.workers: list[Worker] = []

    def _capture(self, source: Source) -> Capture:
        return Capture(source, self._inbox.lane(), self.settings.capture, self.go, self.stop)

    def start_captures(self) -> None:
        """Open the sources, each in its thread; a slow camera and the model load at the same time."""
        for capture in self.captures:
            self._start(Worker(f"capture {capture.name}", capture.run, outputs=[capture.output]))

    def start_inference(self, recognizer: Recognizer) -> None:
        """Serve what the captures read."""
        tracks = {capture.name: Track(recognizer, self.settings) for capture in self.captures}
        drops = {capture.name: capture.drops for capture in self.captures}
        inference = Inference(self._inbox, tracks, drops, self._deliver, self.stop)
        self._start(Worker("inference", inference.run, inputs=[self._inbox], outputs=self._outputs))

    def _start(self, worker: Worker) -> None:
        self.workers.append(worker)
        worker.start()

    def failure(self) -> BaseException | None:
        """Why the run must end: the error of a source, or of a thread that died."""
        for capture in self.captures:
            if capture.error is not None:
                return capture.error
        return next((worker.error for worker in self.workers if worker.error is not None), None)

    def abandon(self) -> None:
        """End without delivering: nobody reads `states` any more."""
        self.stop.set()
        self._inbox.cancel()
        self.states.cancel()


class SceneStream:
    """The scene states of one source, as an iterator and a context manager. See `open_stream`."""

    def __init__(self, source: Source, settings: Settings, recognizer: Recognizer | None) -> None:
        self._pipeline = Pipeline([source], settings)
        self._pipeline.start_captures()
        try:
            self._pipeline.start_inference(recognizer or recognizer_for(settings.model))
            self.info = self._opened()
            """What is known of the source: size, rate, expected number of frames."""
        except BaseException:
            self.close()
            raise
        self._pipeline.go.set()

    def _opened(self) -> SourceInfo:
        for item in self._pipeline.states:
            if isinstance(item, Opened):
                return item.info
            if isinstance(item, Ended) and item.error is not None:
                raise item.error
        raise SourceError(f"{self._pipeline.captures[0].name} ended before it was open")

    def __iter__(self) -> Iterator[SceneState]:
        """States in the order of the frames.

        Raises:
            SourceError: the source failed; every state before that was given.
        """
        try:
            for item in self._pipeline.states:
                if isinstance(item, SceneState):
                    yield item
                elif isinstance(item, Ended) and item.error is not None:
                    raise item.error
        finally:
            self.close()

    def close(self) -> None:
        """Stop the threads and close the source; may be called twice, and while another thread iterates."""
        self._pipeline.abandon()
        join_all(self._pipeline.workers, STOP_DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_stream(
    uri: str,
    *,
    settings: Settings | None = None,
    name: str | None = None,
    recognizer: Recognizer | None = None,
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

    Raises:
        SourceError: the source cannot be opened.
        ModelError: the model cannot be loaded.
    """
    settings = settings or Settings()
    return SceneStream(open_source(uri, name, settings.capture), settings, recognizer)


def recognizer_for(model: ModelSettings) -> Recognizer:
    """Load the model that the settings ask for."""
    return load_recognizer(
        model.name, backend=model.backend, device=model.device, threads=model.threads, segmenter=model.segmenter
    )


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
    sources = [
        open_source(uri, names[i] if names else None, settings.capture) for i, uri in enumerate(uris)
    ]
    taken = [source.name for source in sources]
    twice = sorted({name for name in taken if taken.count(name) > 1})
    if twice:
        raise UserError(f"two sources are called {twice[0]!r}; tell them apart with --name, once per --source")
    return sources


def join_all(workers: Sequence[Worker], deadline_s: float) -> list[str]:
    """Wait for all workers together; the names of those that did not end in time."""
    end = time.monotonic() + deadline_s
    return [worker.name for worker in workers if not worker.join(max(0.0, end - time.monotonic()))]

