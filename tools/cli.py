"""The command line: `scene-streamer COMMAND`. Each command is a file of `tools.commands`.

Exit codes: 0 good, 1 failed, 2 wrong use, 130 interrupted. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_ROOMS = ("config", "models", "streamer", "tools")


def main() -> None:
    """Run the command line and exit with its code."""
    _check_rooms()
    from tools.commands import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


def _check_rooms() -> None:
    """The packages have plain names; make sure that all of them are ours before anything is imported from them."""
    home = Path(__file__).resolve().parent.parent
    for room in _ROOMS:
        spec = importlib.util.find_spec(room)
        found = Path(spec.origin).resolve().parent.parent if spec is not None and spec.origin else None
        if found != home:
            print(  # noqa: T201 - nothing else of ours can be imported yet
                f"scene-streamer: the package {room!r} comes from {found}, not from {home}; "
                "install scene-streamer in a virtual environment of its own",
                file=sys.stderr,
            )
            sys.exit(1)


if __name__ == "__main__":
    main()
