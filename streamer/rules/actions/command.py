"""Action `command`: a program with a list of arguments. No shell sees them, so nothing in them is special.

What the program needs to know stands in its arguments (`{scene}`, `{source}`, `{rule}`) and in its environment
(`SCENE_STREAMER_RULE`... and, whole, `SCENE_STREAMER_EVENT`). It reads nothing; what it writes is logged if it fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping

from config.actions import PLACEHOLDER, CommandSettings
from streamer.encoding import encode
from streamer.errors import ActionError, ConfigError
from streamer.rules.actions.base import Action, Occasion

_POLL_S = 0.02
_GRACE_S = 0.5  # between SIGTERM and SIGKILL
_KEPT_BYTES = 2000  # of the output, its end
_CHUNK = 65_536


class Command(Action):
    """Runs a program.

    Args:
        settings: program, arguments, patience.
        environment: the program's, to which the event's variables are added.

    Raises:
        ConfigError: there is no such program.
    """

    def __init__(self, settings: CommandSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = dict(environment)
        program = settings.args[0]
        if shutil.which(program, path=environment.get("PATH")) is None:
            raise ConfigError(f"there is no program {program!r} that can be run; give its whole path")

    @property
    def title(self) -> str:
        """See `Action.title`."""
        return f"command {self._settings.args[0]}"

    async def perform(self, occasion: Occasion) -> None:
        """See `Action.perform`."""
        with self._started(occasion) as process, _Output(process) as output:
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    code = await _exit_of(process)
            except TimeoutError:
                await _end(process)
                raise ActionError(f"ended after {self._settings.timeout_s:g} s{output.told()}") from None
            except asyncio.CancelledError:
                await _end(process)
                raise
            if code != 0:
                how = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
                raise ActionError(f"{how}{output.told()}")

    def _started(self, occasion: Occasion) -> subprocess.Popen[bytes]:
        body = occasion.body
        values = {name: str(body[name]) for name in ("rule", "scene", "source")}
        arguments = [PLACEHOLDER.sub(lambda match: values[match[1]], text) for text in self._settings.args]
        try:
            return subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment | _variables(occasion),
                start_new_session=True,  # a process group of its own, so that its children end with it
            )
        except (OSError, ValueError) as error:
            raise ActionError(f"cannot be started: {error}") from None


def _variables(occasion: Occasion) -> dict[str, str]:
    body = occasion.body
    names = ("rule", "source", "scene", "p", "unknown", "from", "to", "held_s", "epoch", "pts", "run")
    variables = {f"SCENE_STREAMER_{name.upper()}": _plain(body[name]) for name in names if name in body}
    return variables | {
        "SCENE_STREAMER_TIME_S": f"{occasion.seconds:.6f}",
        "SCENE_STREAMER_EVENT": encode(body, "json").decode(),
    }


def _plain(value: object) -> str:
    return ("false", "true")[value] if isinstance(value, bool) else str(value)


async def _exit_of(process: subprocess.Popen[bytes]) -> int:
    """The exit code, once there is one. Asked for again and again: a few programs at most, and no thread for each."""
    while (code := process.poll()) is None:
        await asyncio.sleep(_POLL_S)
    return code


async def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group: first asked to, then killed. Never longer than the grace."""
    _signal(process, signal.SIGTERM)
    end_s = time.monotonic() + _GRACE_S
    while process.poll() is None and time.monotonic() < end_s:
        await asyncio.sleep(_POLL_S)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The group outlives the program as long as a child of it runs, and its number is not used again before.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


class _Output:
    """Takes what a program writes, so that it never waits for a reader, and keeps the end of it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._pipe = process.stdout.fileno()
        self._tail = b""
        os.set_blocking(self._pipe, False)

    def __enter__(self) -> _Output:
        asyncio.get_running_loop().add_reader(self._pipe, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._pipe)

    def told(self) -> str:
        """The end of the output, to be added to a message; a child that still writes is not waited for."""
        self._read()  # a pipe holds no more than this takes
        text = " ".join(self._tail.decode(errors="replace").split())
        return f": {text}" if text else ""

    def _read(self) -> None:
        try:
            data = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            asyncio.get_running_loop().remove_reader(self._pipe)
        self._tail = (self._tail + data)[-_KEPT_BYTES:]
