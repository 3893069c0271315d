"""A command of ours in a process of its own: its start, its memory and CPU time while it runs, its certain end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from config.errors import UserError

_END_S = 10.0  # a command ends within 5 s of a signal
_MARK = "scene-streamer: "  # in front of the line that says why a command failed


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far.

    Attributes:
        cpu_s: CPU time of all its threads.
        memory_mb: resident memory now.
        peak_mb: the most that it was.
    """

    cpu_s: float
    memory_mb: float
    peak_mb: float


@contextlib.contextmanager
def started(arguments: Sequence[str], log: Path) -> Iterator[Command]:
    """`Command` with a certain end, also where Ctrl-C comes while it is being started."""
    command = None
    try:
        with _interrupts_wait():
            command = Command(arguments, log)
        yield command
    finally:
        if command is not None:
            command.close()


class Command:
    """`scene-streamer ARGUMENTS` in a process of its own. Not to be left alone: see `started`.

    Args:
        arguments: of the command line.
        log: a file for what it writes to stderr.
    """

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                # Ctrl-C goes to the benchmark alone, which then ends this one.
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def usage(self) -> Usage | None:
        """What it has used so far; None once it has ended, and where the system has no /proc.

        Not `resource.getrusage`: there the peak of a process begins with that of the process that started it.
        """
        folder = Path("/proc") / str(self._process.pid)
        try:
            # Behind the name, which may hold blanks and brackets: see proc_pid_stat(5), fields 14 and 15.
            counters = (folder / "stat").read_text().rpartition(")")[2].split()
            status = (folder / "status").read_text()
        except OSError:
            return None
        sizes = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Vm"))
        if "VmRSS" not in sizes:  # ended, and not yet waited for
            return None
        cpu_s = (int(counters[11]) + int(counters[12])) / os.sysconf("SC_CLK_TCK")
        return Usage(cpu_s, _megabytes(sizes["VmRSS"]), _megabytes(sizes["VmHWM"]))

    def check_end(self) -> None:
        """Wait for the end of a command that has done its work.

        Raises:
            UserError: it failed, or does not end; its own words.
        """
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            raise UserError("the command under test does not end") from None
        if code != 0:
            raise UserError(self.complaint())

    def complaint(self) -> str:
        """The line in which it says why it failed, else its last line."""
        text = self._log.read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        said = next((line.removeprefix(_MARK) for line in reversed(lines) if line.startswith(_MARK)), None)
        return said or (lines[-1] if lines else f"the command under test ended with code {self._process.poll()}")

    def close(self) -> None:
        """End it, if it still runs: gently, then hard."""
        if self.alive:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
            self._process.kill()
        self._process.wait()


def _megabytes(size: str) -> float:
    """Of "  1234 kB"."""
    return int(size.split()[0]) / 1024


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back: inside `Popen` they would leave a process that nobody knows of."""
    caught: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(caught[0])
