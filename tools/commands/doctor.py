"""`scene-streamer doctor`: what this machine has, and what is missing and how to get it."""

from __future__ import annotations

from typing import Any

import typer

from tools.commands import _options as options


def doctor(as_json: options.Json = False) -> None:
    """Show devices, backends, codecs, camera access and the packaged models; name what is missing.

    Exit code 1 if the main job cannot run on this machine.
    """
    import json

    from tools.diagnosis import diagnose

    findings = diagnose()
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in findings]))
    else:
        for finding in findings:
            _print(finding)
    if any(finding.verdict == "broken" for finding in findings):
        raise typer.Exit(1)


def _print(finding: Any) -> None:
    mark, colour = {
        "good": ("ok", typer.colors.GREEN),
        "missing": ("--", typer.colors.YELLOW),
        "broken": ("!!", typer.colors.RED),
    }[finding.verdict]
    typer.echo(f"{typer.style(mark, fg=colour)}  {finding.what:<18} {finding.found}")
    if finding.remedy:
        typer.echo(f"    {'':<18} → {finding.remedy}")
