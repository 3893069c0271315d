"""A live view of one source in the terminal: the picture in coloured half blocks, the scene, what was seen so far."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamer.events import StreamItem
from streamer.frame import Picture
from streamer.state import SceneState

_COLUMNS = 64
_REFRESH_HZ = 8
_BAR = 24


class DemoView:
    """Shows states on stderr; a context manager, and an observer for `streamer.app.run`."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._changes: list[tuple[float, str]] = []
        self._frames = 0
        self._end_s = 0.0
        self._started_s = 0.0
        self._next_s = 0.0

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, item: StreamItem) -> None:
        """Take the next state or event; draws a few times a second."""
        if not isinstance(item, SceneState):
            return
        now = time.monotonic()
        self._started_s = self._started_s or now
        self._frames += 1
        self._end_s = item.frame.seconds
        if item.changed:
            self._changes.append((item.frame.seconds, item.scene))
        if now >= self._next_s:
            self._next_s = now + 1 / _REFRESH_HZ
            self._live.update(self._panel(item, now), refresh=True)

    def print_summary(self) -> None:
        """The scenes of the clip with their times, after the view is gone."""
        ends = [start for start, _ in self._changes[1:]] + [self._end_s]
        for (start, scene), end in zip(self._changes, ends, strict=True):
            self._console.print(f"{start:6.2f} s to {end:6.2f} s  [bold]{scene.replace('_', ' ')}[/bold]")
        self._console.print(f"{self._frames} frames")

    def _panel(self, state: SceneState, now: float) -> RenderableType:
        fps = self._frames / max(now - self._started_s, 1e-6)
        style = "reverse" if state.unknown else "bold black on bright_green"
        title = Text.assemble(
            (f" {state.scene.replace('_', ' ')} ", style),
            f"  {state.p:.0%}  for {state.dwell_s:.1f} s   frame {state.frame.frame_id}   {fps:.0f} fps",
        )
        return Group(half_blocks(state.frame.image, _COLUMNS), title, _bars(state))


def _bars(state: SceneState) -> Table:
    table = Table.grid(padding=(0, 1))
    for scene, p in state.smoothed[:3]:
        filled = round(_BAR * p)
        bar = Text("━" * filled, "bright_green") + Text("━" * (_BAR - filled), "bright_black")
        table.add_row(scene.replace("_", " ").ljust(14), bar, f"{p:4.0%}")
    return table


def half_blocks(picture: Picture, columns: int) -> Text:
    """`picture` (H×W×3 uint8 RGB) as text: each character shows two pixels, one above the other."""
    rows = max(1, round(columns * picture.shape[0] / picture.shape[1] / 2))
    small = cv2.resize(picture, (columns, 2 * rows), interpolation=cv2.INTER_AREA)
    text = Text(no_wrap=True, end="\n")
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", f"{_rgb(above)} on {_rgb(below)}")
        text.append("\n")
    return text


def _rgb(pixel: np.ndarray) -> str:
    return "rgb({},{},{})".format(*(int(value) for value in pixel))
