"""`scene-streamer demo`: the main job on a small real clip."""

from __future__ import annotations

import typer

from tools.commands import _options as options


def demo(
    config: options.Config = None,
    set_: options.Set = None,
    device: options.Device = None,
    backend: options.Backend = None,
    precision: options.Precision = None,
) -> None:
    """Run on a small real clip, with a live view in the terminal; ends by itself."""
    settings = options.settings_from(
        config,
        set_,
        {"model.device": device, "model.backend": backend, "model.precision": precision, "capture.realtime": True},
    )
    import sys

    from config.errors import UserError
    from tools.demo_clip import find_demo_clip
    from tools.demo_view import DemoView
    from tools.live import run_live

    clip = find_demo_clip()
    if clip is None:
        raise UserError("the demo's clip is not installed; run: pip install 'scene-streamer[demo]'")
    if not sys.stderr.isatty():
        raise typer.Exit(run_live([str(clip)], [], settings))
    with DemoView() as view:
        code = run_live([str(clip)], [], settings, view)
    view.print_summary()
    raise typer.Exit(code)
