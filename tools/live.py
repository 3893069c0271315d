"""Running the pipeline from the command line: signals, a view of what is found, and the exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer

from config.schema import Settings
from streamer.app import run
from streamer.errors import StuckError
from streamer.events import Ended, StreamItem
from streamer.publish import Publisher
from streamer.state import SceneState
from tools.commands import FAILED, INTERRUPTED


def run_live(
    uris: Sequence[str], names: Sequence[str], settings: Settings, view: Callable[[StreamItem], None] | None = None
) -> int:
    """Run until the sources end or the user interrupts; the exit code.

    Args:
        uris: addresses of the sources.
        names: none, or one for each.
        settings: everything else.
        view: shows states and events; default: a line on stdout for every change of scene.
    """
    with interruption() as interrupted:
        try:
            run(uris, names, settings, interrupted=interrupted, observe=view or Lines(), ready=_say_addresses)
        except StuckError as error:
            _leave_hard(error, INTERRUPTED if interrupted.is_set() else FAILED)
        return INTERRUPTED if interrupted.is_set() else 0


def _leave_hard(error: StuckError, code: int) -> NoReturn:
    """The last resort: the thread that hangs would make the interpreter's own end hang as well."""
    typer.secho(f"scene-streamer: {error}", fg=typer.colors.RED, err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second one ends the process at once."""
    interrupted = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Lines:
    """A line on stdout for every change of scene, a summary of each source on stderr at its end."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def __call__(self, item: StreamItem) -> None:
        """Take the next state or event."""
        if isinstance(item, SceneState):
            self._started.setdefault(item.source, time.monotonic())
            self._counts[item.source] = self._counts.get(item.source, 0) + 1
            if item.changed or item.cut:
                typer.echo(_line(item))
                sys.stdout.flush()
        elif isinstance(item, Ended):
            self._summarise(item)

    def _summarise(self, item: Ended) -> None:
        frames = self._counts.get(item.source, 0)
        seconds = time.monotonic() - self._started[item.source] if frames else 0.0
        rate = f" in {seconds:.1f} s, {frames / seconds:.1f} fps" if seconds > 0 else ""
        drops = item.drops
        typer.echo(
            f"{item.source}: {frames} frames{rate}; dropped {drops.decode} in decoding, "
            f"{drops.queue} in the queue; ended: {item.cause}",
            err=True,
        )


def _line(state: SceneState) -> str:
    minutes, seconds = divmod(state.frame.seconds, 60)
    what = "cut" if state.cut and not state.changed else "   "
    unknown = "  (unknown)" if state.unknown else ""
    return f"{state.source}  {int(minutes):02d}:{seconds:06.3f}  {what}  {state.scene:<14} {state.p:4.0%}{unknown}"


def _say_addresses(publisher: Publisher) -> None:
    if publisher.labels_address is not None:
        typer.echo(f"labels on {publisher.labels_address}", err=True)
    if publisher.frames_address is not None:
        typer.echo(f"frames on {publisher.frames_address}", err=True)
