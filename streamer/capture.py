"""The capture thread: reads one source into its channel, at the pace asked for, and reopens a live source it lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from config.schema import CaptureSettings
from streamer.channel import Channel, Policy
from streamer.errors import SourceError, SourceLost
from streamer.events import CaptureItem, Ended, Opened, Reconnected, Reconnecting
from streamer.frame import Frame
from streamer.sources.base import Source, SourceInfo
from streamer.state import Drops

_log = logging.getLogger(__name__)

_QUEUED_FRAMES: Mapping[Policy, int] = {"latest": 1, "every": 4}
_FIRST_WAIT_S = 0.5  # before the first attempt to reconnect; doubles up to `reconnect_max_s`


class Capture:
    """Body of a capture thread.

    Args:
        source: opened, read and closed by this thread alone.
        output: where frames and events go; its policy is set when the source is open and known to be live or not.
        settings: pace, reconnects, number of frames.
        start: frames are held back until this is set.
        stop: set by anyone who wants the end.
    """

    def __init__(
        self,
        source: Source,
        output: Channel[CaptureItem],
        settings: CaptureSettings,
        start: threading.Event,
        stop: threading.Event,
    ) -> None:
        self.error: SourceError | None = None
        """Why the source failed."""
        self.output = output
        self._source = source
        self._settings = settings
        self._start = start
        self._stop = stop

    @property
    def name(self) -> str:
        """The source's name."""
        return self._source.name

    def drops(self) -> Drops:
        """Frames lost between the camera and the networks so far."""
        return Drops(decode=self._source.decode_drops, queue=self.output.dropped)

    def run(self) -> None:
        """Read to the end; the last item is always `Ended`, unless the receiver is gone.

        A source that fails ends with its error in `Ended`: the run ends by it after everything queued is delivered.
        """
        cause = "end"
        try:
            cause = self._read_all()
        except SourceError as failure:
            cause, self.error = "error", failure
        finally:
            self._source.close()
        self._send(Ended(self.name, cause, self.error, self.drops()))

    def _read_all(self) -> str:
        """Open and read, again and again for a live source that gets lost; the cause of the end."""
        info = self._source.open()
        policy = self._choose_policy(info)
        self._send(Opened(self.name, info, policy))
        while not self._start.wait(0.1):
            if self._stop.is_set():
                return "stop"
        realtime = self._settings.realtime
        pace = realtime if realtime is not None else policy == "latest"
        while True:
            try:
                return self._read(pace=pace and not info.live)
            except SourceLost as lost:
                if not (info.live and self._settings.reconnect):
                    raise
                if not self._reopen(str(lost)):
                    return "stop"

    def _choose_policy(self, info: SourceInfo) -> Policy:
        wanted = self._settings.policy
        policy: Policy = wanted if wanted != "auto" else "latest" if info.live else "every"
        self.output.set_policy(policy, _QUEUED_FRAMES[policy])
        rate = f"{float(info.frame_rate):.5g} fps" if info.frame_rate else "variable rate"
        _log.info("%s: %s, %dx%d, %s, policy %s", self.name, info.uri, info.width, info.height, rate, policy)
        return policy

    def _read(self, *, pace: bool) -> str:
        limit = self._settings.max_frames
        for frame in _paced(self._source.frames(), self._stop) if pace else self._source.frames():
            if self._stop.is_set():
                return "stop"
            self.output.put(frame)
            if limit is not None and frame.frame_id + 1 >= limit:
                return "max-frames"
        return "stop" if self._stop.is_set() else "end"

    def _reopen(self, cause: str) -> bool:
        """Try until the source is back; False if the run stops first."""
        wait_s, attempt = _FIRST_WAIT_S, 0
        while not self._stop.is_set():
            attempt += 1
            self._send(Reconnecting(self.name, cause, attempt))
            self._source.close()
            if self._stop.wait(wait_s):
                break
            wait_s = min(2 * wait_s, self._settings.reconnect_max_s)
            try:
                self._source.open()
            except SourceError as failure:
                cause = str(failure)
                continue
            self._send(Reconnected(self.name, cause, attempt, self._source.epoch))
            return True
        return False

    def _send(self, event: CaptureItem) -> None:
        self.output.put(event, droppable=False)


def _paced(frames: Iterator[Frame], stop: threading.Event) -> Iterator[Frame]:
    """Hold each frame until the time at which a player would show it; a new epoch restarts the clock.

    That time is then its capture time: the frame was decoded earlier, but no camera would have had it yet.
    """
    epoch, started_s, first_s = -1, 0.0, 0.0
    for frame in frames:
        if frame.epoch != epoch:
            epoch, started_s, first_s = frame.epoch, time.monotonic(), frame.seconds
        early_s = (frame.seconds - first_s) - (time.monotonic() - started_s)
        if early_s > 0 and stop.wait(early_s):
            return
        yield replace(frame, t_capture_ns=time.time_ns()) if early_s > 0 else frame
