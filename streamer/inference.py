"""The inference worker: one recognizer that serves the frames of all sources in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from streamer.channel import Inbox
from streamer.events import CaptureItem, Ended, StreamItem
from streamer.frame import Frame
from streamer.state import Drops
from streamer.track import Track


class Inference:
    """Body of the inference thread.

    Args:
        inbox: frames and events of all sources.
        tracks: per source name, its way from frame to state.
        drops: per source name, how many frames it has lost before they came here.
        deliver: takes states and events, in order per source; it may block.
        stop: once set, frames that still wait are left unlabelled, so that the end comes soon.
    """

    def __init__(
        self,
        inbox: Inbox[CaptureItem],
        tracks: Mapping[str, Track],
        drops: Mapping[str, Callable[[], Drops]],
        deliver: Callable[[StreamItem], None],
        stop: threading.Event,
    ) -> None:
        self._inbox = inbox
        self._tracks = tracks
        self._drops = drops
        self._deliver = deliver
        self._stop = stop

    def run(self) -> None:
        """Serve until every source has ended. An error of the networks ends the thread."""
        for item in self._inbox:
            if isinstance(item, Frame):
                if not self._stop.is_set():
                    self._deliver(self._tracks[item.source].step(item, self._drops[item.source]()))
            elif isinstance(item, Ended):
                self._deliver(replace(item, drops=self._drops[item.source]()))
            else:
                self._deliver(item)
