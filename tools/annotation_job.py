"""One annotation at work: states into sinks, segment by segment, from the start or from where a killed job stood."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from config.schema import Settings
from models.recognizer import Recognizer
from streamer.address import open_source
from streamer.app import SceneStream, open_stream
from streamer.errors import OutputError, SourceError, TruncatedError
from streamer.history import Memory, Moment
from streamer.sinks import SINKS
from streamer.sinks.base import Segment, Sink, Target
from streamer.state import SceneState
from streamer.track import Past, Track
from tools.annotation_journal import Journal

SINK_NAMES = ("video", "jsonl", "timeline")
_LONGEST_WORK_S = 60.0  # a segment ends after that much work, however slow the networks are
# Pictures that the cut detector sees again: so many that its weight of older ones is below 1e-9, and so far back that
# it remembers none from before.
_GLANCES = 128
_GLANCE_S = 5.0

Progress = Callable[[int, int | None], None]
"""Takes the number of frames done and the number expected, None if that is not known."""


@dataclass(slots=True)
class Done:
    """What a job has done."""

    files: list[Path] = field(default_factory=list)
    frames: int = 0
    resumed: int = 0
    damaged: int = 0
    problem: str | None = None


class Job:
    """The way of one recording into its results."""

    def __init__(
        self,
        address: str,
        settings: Settings,
        recognizer: Recognizer,
        journal: Journal,
        video: Mapping[str, object],
        segment_s: float,
    ) -> None:
        self._address = address
        self._settings = settings
        self._recognizer = recognizer
        self._journal = journal
        self._video = video
        self._segment_s = segment_s
        self._done = Done()

    def run(self, target: Target, on_progress: Progress, interrupted: threading.Event | None) -> Done:
        """Do it, all of it or what an earlier run has left to do."""
        params = {"video": self._video}
        with ExitStack() as stack:
            sinks = [stack.enter_context(SINKS.build(name, params.get(name, {}), target=target)) for name in SINK_NAMES]
            past = self._recall(sinks) if self._journal.next_number else None
            stream = stack.enter_context(
                open_stream(self._address, settings=self._settings, recognizer=self._recognizer, past=past)
            )
            if past is None:
                self._journal.start(stream.info)
                for sink in sinks:
                    sink.open(stream.info)
            self._fill(sinks, stream, on_progress, interrupted)
            self._done.files = [path for sink in sinks for path in sink.close()]
        return self._done

    def _recall(self, sinks: Sequence[Sink]) -> Past:
        """Bring sinks and a track to where they stood after the last complete segment."""
        memory, info = self._journal.memory(), self._journal.info
        assert info is not None, "a journal with segments knows its source"
        for sink in sinks:
            sink.open(info)
        track = Track(self._recognizer, self._settings)
        for state in memory.recall(track, info.name, self._recognizer.labels):
            for sink in sinks:
                sink.recall(state)
        self._glance(track, memory)
        mark = memory.mark(-1)
        self._done.frames = self._done.resumed = len(memory)
        self._done.damaged = mark.decode_drops
        return Past(track, mark)

    def _glance(self, track: Track, memory: Memory) -> None:
        """Show the track the pictures before the next one: that much of the past is not in the journal."""
        mark = memory.mark(-1)
        count = min(len(memory), max(_GLANCES, memory.frames_within(_GLANCE_S)))
        with open_source(self._address, None, self._settings.capture) as source:
            if len(memory) > count:
                source.resume(memory.mark(-count - 1))
            source.open()
            pts = None
            for frame in islice(source.frames(), count):
                pts = frame.pts
                if frame.epoch == mark.epoch:
                    track.glance(frame)
        if pts != mark.pts:
            raise OutputError(f"{self._address} does not read as it did before; --restart does it anew")

    def _fill(
        self, sinks: Sequence[Sink], stream: SceneStream, on_progress: Progress, interrupted: threading.Event | None
    ) -> None:
        """Give every state to every sink, segment by segment."""
        done, segments = self._done, _Segments(sinks, self._journal, self._segment_s)
        limit = self._settings.capture.max_frames
        try:
            # The capture looks at its limit after a frame, which would be one too many here.
            for state in stream if limit is None or done.frames < limit else ():
                if interrupted is not None and interrupted.is_set():
                    segments.end()
                    raise KeyboardInterrupt
                segments.write(state)
                done.frames, done.damaged = done.frames + 1, state.drops.decode
                on_progress(done.frames, stream.info.frame_count)
        except TruncatedError as error:
            done.problem = str(error)
        if done.frames == 0:
            raise SourceError(done.problem or f"{stream.info.uri} has no frames")
        segments.finish()


class _Segments:
    """Cuts the stream of states into segments, and enters each in the journal when it is complete."""

    def __init__(self, sinks: Sequence[Sink], journal: Journal, length_s: float) -> None:
        self._sinks = sinks
        self._journal = journal
        self._length_s = length_s
        self._segment: Segment | None = None
        self._moments: list[Moment] = []
        self._first: tuple[int, float] = 0, 0.0
        self._began_s = 0.0

    def write(self, state: SceneState) -> None:
        """Give a state to every sink."""
        if self._moments and self._is_long_enough(state):
            self.end()
        if not self._moments:
            self._begin(state.frame.pts)
            self._first, self._began_s = (state.frame.epoch, state.frame.seconds), time.monotonic()
        for sink in self._sinks:
            sink.write(state)
        self._moments.append(Moment.of(state))

    def end(self) -> None:
        """Complete the segment, if one is begun: a job goes on from here, whatever happens next."""
        if self._segment is None:
            return
        for sink in self._sinks:
            sink.end(self._segment)
        if self._moments:
            self._journal.add(self._moments)
        self._segment, self._moments = None, []

    def finish(self) -> None:
        """End the last segment; every sink has seen one, if only an empty one after those of an earlier run."""
        if self._segment is None:
            self._begin(None)
        self.end()

    def _begin(self, pts: int | None) -> None:
        self._segment = Segment(self._journal.next_number, start_pts=pts)
        for sink in self._sinks:
            sink.begin(self._segment)

    def _is_long_enough(self, state: SceneState) -> bool:
        epoch, first_s = self._first
        is_long = state.frame.seconds - first_s >= self._length_s
        return state.frame.epoch != epoch or is_long or time.monotonic() - self._began_s >= _LONGEST_WORK_S
