"""`scene-streamer watch`: shows what a bus says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streamer.client import LabelSubscriber, Message
    from tools.bus_recording import BusRecording

_PATIENCE_S = 3.0  # silence after which it says that it waits
_STATUS_S = 1.0


def watch(
    address: Annotated[
        str, typer.Argument(metavar="ADDR", help="Where labels are published.")
    ] = "tcp://127.0.0.1:5555",
    source: Annotated[str | None, typer.Option("--source", "-s", metavar="S", help="Only this source.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every message as a line of JSON; ends when the run does.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Also record it, as lines of JSON or, in a .mcap, as MCAP."
        ),
    ] = None,
) -> None:
    """Subscribe to a bus and show its scenes until the run ends."""
    import sys

    from streamer.client import LabelSubscriber
    from tools.bus_recording import BusRecording

    kinds = ("L", "E", "H", "F", "S") if source is None else ("L", "E", "H", "F")
    with ExitStack() as stack:
        subscriber = stack.enter_context(LabelSubscriber(address, source, kinds=kinds))
        messages = _until_bye(subscriber, address, source)
        if output is not None:  # after the address was found good: no file is left where nothing can be heard
            messages = _recorded(messages, stack.enter_context(BusRecording(output)))
        if as_json:
            _print_json(messages)
        elif sys.stdout.isatty():
            _show_table(messages)
        else:
            _print_lines(messages)
        if subscriber.garbage:
            typer.echo(f"{subscriber.garbage} messages were not understood and have been skipped", err=True)


def _until_bye(subscriber: LabelSubscriber, address: str, source: str | None) -> Iterator[Message | None]:
    """Messages up to the end of the run, or of `source`; None now and then while there are none."""
    started_s, heard, told = time.monotonic(), False, False
    while True:
        message = subscriber.receive(0.25)
        yield message
        if message is None:
            if not heard and not told and time.monotonic() - started_s > _PATIENCE_S:
                typer.echo(f"nobody publishes on {address} yet; waiting (Ctrl-C ends)", err=True)
                told = True
            continue
        heard = True
        if message.body["type"] == "bye" and (source is not None or not message.body.get("active")):
            return


def _recorded(messages: Iterator[Message | None], recording: BusRecording) -> Iterator[Message | None]:
    for message in messages:
        if message is not None:
            recording.add(message.body)
        recording.flush_when_due()
        yield message


def _print_json(messages: Iterator[Message | None]) -> None:
    import json

    for message in messages:
        if message is not None:
            _say(json.dumps({"topic": message.topic, "body": message.body}, default=_text))


def _text(value: object) -> str:
    """What JSON cannot say (bytes in an unknown key)."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _print_lines(messages: Iterator[Message | None]) -> None:
    """A line for each event, and one a second for each source."""
    from tools.watch_view import WatchView

    view, next_status_s = WatchView(), time.monotonic() + _STATUS_S
    for message in messages:
        line = None if message is None else view.take(message.body)
        if line is not None:
            _say(line)
        if time.monotonic() >= next_status_s:
            next_status_s = time.monotonic() + _STATUS_S
            for status in view.status_lines():
                _say(status)


def _show_table(messages: Iterator[Message | None]) -> None:
    from rich.console import Console
    from rich.live import Live

    from tools.watch_view import WatchView

    view, console, next_refresh_s = WatchView(), Console(), 0.0
    with Live(console=console, auto_refresh=False) as live:
        for message in messages:
            line = None if message is None else view.take(message.body)
            if line is not None and message is not None and message.body["type"] != "health":
                live.console.print(line, style="dim", highlight=False, markup=False)
            if time.monotonic() >= next_refresh_s:
                next_refresh_s = time.monotonic() + 0.1
                live.update(view.table(), refresh=True)
        live.update(view.table(), refresh=True)


def _say(line: str) -> None:
    import sys

    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # a program may be waiting for this line
