"""The commands: one file each, with a function (or a Typer of subcommands) of the command's name.

A command's module imports nothing heavy at its top: `watch` starts without networks, `--help` without anything.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from streamer.errors import ConfigError, SceneStreamerError, UnknownPluginError

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell more of what is done.")]

# In the order of `--help`.
_COMMANDS = (
    "run",
    "demo",
    "watch",
    "annotate",
    "rules",
    "timeline",
    "summary",
    "resmooth",
    "classify",
    "precompute",
    "evaluate",
    "train",
    "export",
    "benchmark",
    "walkthrough",
    "models",
    "datasets",
    "doctor",
)


def run_command_line(arguments: Sequence[str]) -> int:
    """Run `scene-streamer` with `arguments`; the exit code."""
    try:
        _app()(list(arguments), prog_name="scene-streamer")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_left()
    except Exception as error:
        return _report(error)
    return 0


def _app() -> typer.Typer:
    app = typer.Typer(
        help="Name the scene that a camera or a recording shows, on every frame, steady over time.",
        add_completion=False,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_common)
    for name in _COMMANDS:
        command = getattr(importlib.import_module(f"tools.commands.{name}"), name)
        if isinstance(command, typer.Typer):
            for entry in command.registered_commands:
                assert entry.callback is not None
                entry.callback = _with_verbose(entry.callback)
            app.add_typer(command, name=name)
        else:
            app.command(name)(_with_verbose(command))
    return app


def _with_verbose(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the option `-v`, which every command has, after its name as well as before."""
    signature = inspect.signature(command, eval_str=True)
    if "verbose" in signature.parameters:  # subcommands keep it when the application is made a second time
        return command
    verbose = inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_Verbose)

    @functools.wraps(command)
    def wrapped(*, verbose: bool, **arguments: Any) -> None:
        if verbose:
            log_to_stderr(verbose=True)
        command(**arguments)

    parameters = [*signature.parameters.values(), verbose]
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return wrapped


def _common(
    context: typer.Context,
    verbose: _Verbose = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    log_to_stderr(verbose=verbose)
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"scene-streamer {installed('scene-streamer')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(WRONG_USE)


def log_to_stderr(*, verbose: bool) -> None:
    """Send the log of our packages to stderr, one line a record; `verbose` adds details and tracebacks."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for room in ("config", "models", "streamer", "tools"):
        log = logging.getLogger(room)
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.DEBUG if verbose else logging.INFO)


def _report(error: Exception) -> int:
    """Print an error as one line; with `-v` also where it came from."""
    logging.getLogger("tools").debug("failed", exc_info=error)
    text = " ".join(str(error).split())
    if not isinstance(error, SceneStreamerError):
        text = f"internal error, {type(error).__name__}: {text} (-v shows where)"
    typer.secho(f"scene-streamer: {text}", fg=typer.colors.RED, err=True)
    return WRONG_USE if isinstance(error, ConfigError | UnknownPluginError) else FAILED


def _reader_left() -> int:
    """Whoever read our stdout is gone (`| head`): be quiet, also when the interpreter flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
