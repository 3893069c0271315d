"""A progress bar on stderr: how many, how fast, how long still. Nothing where stderr is no terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class CountProgress:
    """The bar of one piece of work; call it with the number of units done and the number expected (None: unknown).

    It appears with the first call, so that whatever is logged while the work is prepared does not run into it.

    Args:
        name: what to write in front of the bar.
        unit: what is counted, in the plural ("frames"); "bytes" are shown as MB.
        console: where; default: stderr.
    """

    def __init__(self, name: str, unit: str, console: Console | None = None) -> None:
        self._progress = _progress(unit, console)
        self._task = self._progress.add_task(name, start=False, total=None)
        self._started = False

    def __call__(self, done: int, expected: int | None) -> None:
        """Show how far it is."""
        if not self._started:
            self._started = True
            self._progress.start()
            self._progress.start_task(self._task)
        total = None if expected is None else max(done, expected)
        self._progress.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started:
            self._progress.stop()


class CountBars:
    """Bars of several pieces of work at once, each from its first `show` to its `done`. A context manager.

    Args:
        unit: what is counted, in the plural.
        console: where; default: stderr.
    """

    def __init__(self, unit: str, console: Console | None = None) -> None:
        self._progress = _progress(unit, console)
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, done: int, expected: int | None) -> None:
        """Show how far the piece of that name is; None where nobody knows how many to expect."""
        total = None if expected is None else max(done, expected)
        if name not in self._tasks:
            if not self._tasks:
                self._progress.start()
            # What was done before this run says nothing about its speed.
            self._tasks[name] = self._progress.add_task(name, total=total, completed=max(0, done - 1))
        self._progress.update(self._tasks[name], completed=done, total=total)

    def done(self, name: str) -> None:
        """Take the bar away; between two pieces of work the screen is free for the log."""
        task = self._tasks.pop(name, None)
        if task is not None:
            self._progress.remove_task(task)
            if not self._tasks:
                self._progress.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in list(self._tasks):
            self.done(name)


def _progress(unit: str, console: Console | None) -> Progress:
    console = console or Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *([DownloadColumn(), TransferSpeedColumn()] if unit == "bytes" else [_CountColumn(unit)]),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=False,  # results go there, perhaps into a pipe
        refresh_per_second=5,
    )


class _CountColumn(ProgressColumn):
    """ "120/431 frames, 58.2/s"."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f"/{int(task.total)}"
        speed = task.finished_speed or task.speed
        rate = "" if speed is None else f", {speed:.1f}/s"
        return Text(f"{int(task.completed)}{total} {self._unit}{rate}")
