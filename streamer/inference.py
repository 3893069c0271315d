"""The inference worker: one recognizer that serves the frames of all sources in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from streamer.channel import Channel, Inbox
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
        output: where states and events go, in order per source.
    """

    def __init__(
        self,
        inbox: Inbox[CaptureItem],
        tracks: Mapping[str, Track],
        drops: Mapping[str, Callable[[], Drops]],
        output: Channel[StreamItem],
    ) -> None:
        self._inbox = inbox
        self._tracks = tracks
        self._drops = drops
        self._output = output

    def run(self) -> None:
        """Serve until every source has ended. An error of the networks ends the thread."""
        for item in self._inbox:
            if isinstance(item, Frame):
                state = self._tracks[item.source].step(item, self._drops[item.source]())
                self._output.put(state)
            elif isinstance(item, Ended):
                self._output.put(replace(item, drops=self._drops[item.source]()), droppable=False)
            else:
                self._output.put(item, droppable=False)
