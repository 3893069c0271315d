"""Annotates many recordings: one after the other here, or several at once, each in a process of its own.

Processes, because decoding, networks, drawing and encoding of one recording hold Python's lock long enough to slow
those of another. A process serves one recording after the other. Its pipe brings it recordings and the word to stop,
and takes progress and results back; a pipe that breaks tells either side that the other is gone.
"""

from __future__ import annotations

import multiprocessing
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from config.schema import Settings
from models.cores import usable_cores
from models.recognizer import Recognizer
from streamer import app
from streamer.errors import SceneStreamerError, StuckError, UserError
from tools.annotate import Annotation, Options, annotate_file
from tools.annotation_job import Progress

Show = Callable[[str, int, int | None], None]
"""Takes a recording's name, the number of frames done and the number expected, None if that is not known."""

_CORES_PER_JOB = 2  # one is busy with the networks, the other with decoding, drawing and encoding
_MOST_JOBS = 8  # each has the model in memory
_STOP_DEADLINE_S = 4.0
_POLL_S = 0.2
_PROGRESS_S = 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """What is done with every recording."""

    output: Path
    settings: Settings
    options: Options


def default_jobs(videos: int) -> int:
    """How many recordings at once: one for every two cores, eight at most."""
    return max(1, min(videos, usable_cores() // _CORES_PER_JOB, _MOST_JOBS))


def annotate_all(
    videos: Sequence[Path], order: Order, jobs: int, show: Show, interrupted: threading.Event
) -> Iterator[Annotation]:
    """Annotate recordings; what goes wrong with one does not keep the others from being done.

    Args:
        videos: the recordings; their names differ.
        order: what is done with each.
        jobs: how many at once; one is done in this process.
        show: told of progress.
        interrupted: ends the work when set.

    Yields:
        What became of each, as they are done.

    Raises:
        UserError: the model cannot be loaded.
        KeyboardInterrupt: `interrupted` was set; what is complete of each recording waits to be resumed.
    """
    if min(jobs, len(videos)) <= 1:
        recognizer = _recognizer(order)
        for video in videos:
            yield _annotate(video, order, recognizer, _named(show, video), interrupted)
        return
    crew = _Crew(order, jobs)
    try:
        yield from crew.work(videos, show, interrupted)
    finally:
        crew.stop()


def _recognizer(order: Order) -> Recognizer:
    model = order.settings.model
    return app.recognizer_for(model, model.lanes or usable_cores())  # as `app.lane_count` has it for recordings


def _named(show: Show, video: Path) -> Progress:
    return lambda done, expected: show(video.name, done, expected)


def _annotate(
    video: Path, order: Order, recognizer: Recognizer, on_progress: Progress, interrupted: threading.Event
) -> Annotation:
    """One recording; only a stop gets out of here as an exception."""
    began_s = time.monotonic()
    try:
        return annotate_file(video, order.output, order.settings, recognizer, on_progress, interrupted, order.options)
    except StuckError:
        raise
    except SceneStreamerError as error:
        problem = str(error)
    except Exception as error:
        problem = f"internal error, {type(error).__name__}: {error}"
    return Annotation(video, problem=problem, seconds=time.monotonic() - began_s)


class _Crew:
    """The processes, and what each is at."""

    def __init__(self, order: Order, jobs: int) -> None:
        share, model = max(1, usable_cores() // jobs), order.settings.model
        model = model.model_copy(update={"threads": model.threads or share, "lanes": model.lanes or share})
        settings = order.settings.model_copy(update={"model": model})
        self._order = Order(order.output, settings, order.options)
        self._jobs = jobs
        self._members: dict[Connection, multiprocessing.process.BaseProcess] = {}
        self._tasks: dict[Connection, Path] = {}

    def work(self, videos: Sequence[Path], show: Show, interrupted: threading.Event) -> Iterator[Annotation]:
        """Give recordings to whoever is free; yields what became of them."""
        waiting = deque(videos)
        while waiting or self._tasks:
            while waiting and len(self._tasks) < self._jobs:
                self._assign(waiting.popleft())
            if interrupted.is_set():
                raise KeyboardInterrupt
            for pipe in connection.wait(list(self._tasks), _POLL_S):
                assert isinstance(pipe, Connection)
                annotation = self._hear(pipe, show)
                if annotation is not None:
                    yield annotation

    def _assign(self, video: Path) -> None:
        free = next((pipe for pipe in self._members if pipe not in self._tasks), None) or self._hire()
        self._tasks[free] = video
        with suppress(OSError):  # it died between two recordings, which the next look at its pipe tells
            free.send(video)

    def _hire(self) -> Connection:
        # Spawned, not forked: a fork would copy locks that other threads hold.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._order), name="annotate", daemon=True)
        process.start()
        theirs.close()
        self._members[ours] = process
        return ours

    def _hear(self, pipe: Connection, show: Show) -> Annotation | None:
        """Take a message of a member; an annotation if it is done with its recording, or dead."""
        try:
            message: Any = pipe.recv()
        except (EOFError, OSError):
            return self._bury(pipe)
        if isinstance(message, Annotation):
            del self._tasks[pipe]
            return message
        if isinstance(message, str):
            raise UserError(message)
        show(self._tasks[pipe].name, *message)
        return None

    def _bury(self, pipe: Connection) -> Annotation:
        process = self._members.pop(pipe)
        process.join(_STOP_DEADLINE_S)
        pipe.close()
        code = process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        problem = f"its process died ({how}; out of memory?); what is complete of it waits for --resume"
        return Annotation(self._tasks.pop(pipe), problem=problem)

    def stop(self) -> None:
        """End all processes within the deadline; each completes its segment if it has the time."""
        for pipe in self._members:
            with suppress(OSError):
                pipe.send(None)
        end_s = time.monotonic() + _STOP_DEADLINE_S
        for process in self._members.values():
            process.join(max(0.0, end_s - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


def _serve(pipe: Connection, order: Order) -> None:
    """The life of a process: recordings in, what became of them out, until it is told to stop."""
    # Ctrl-C reaches every process of the terminal; the one that started this says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupted = threading.Event()
    videos: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, videos, interrupted), name="orders", daemon=True).start()
    try:
        recognizer = _recognizer(order)
    except SceneStreamerError as error:
        pipe.send(str(error))
        return
    with suppress(KeyboardInterrupt, BrokenPipeError):
        while (video := videos.get()) is not None:
            pipe.send(_annotate(video, order, recognizer, _Teller(pipe), interrupted))


def _listen(pipe: Connection, videos: queue.SimpleQueue[Path | None], interrupted: threading.Event) -> None:
    """Take orders; None, or a pipe whose other end is gone, means stop."""
    video: Path | None
    while True:
        try:
            video = pipe.recv()
        except (EOFError, OSError):
            video = None
        videos.put(video)
        if video is None:
            interrupted.set()
            return


class _Teller:
    """Sends progress through a pipe, ten times a second at most."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._told_s = 0.0

    def __call__(self, done: int, expected: int | None) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= _PROGRESS_S:
            self._told_s = now_s
            self._pipe.send((done, expected))
