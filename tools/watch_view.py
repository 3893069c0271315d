"""What a person sees of the bus: a live table in a terminal, plain lines in a pipe. Takes bodies, knows no sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

Body = dict[str, Any]

_BAR = 10  # width of the confidence bar in characters
_HEALTH_STYLES = {"ok": "green", "starting": "cyan", "ended": "dim"}


@dataclass
class SourceView:
    """What is known of one source: the last label and the last heartbeat, each None before the first."""

    source: str
    label: Body | None = None
    heartbeat: Body | None = None
    health: str = "starting"
    bye: Body | None = None

    @property
    def scene(self) -> str:
        """The stable scene, with a question mark while no scene is probable enough."""
        if self.label is None:
            return "-"
        name = _printable(str(_at(self.label, "stable", "scene", default="-")))
        return f"{name} ?" if self.label.get("unknown") else name

    @property
    def p(self) -> float:
        """Probability of the stable scene; 0 before the first label."""
        return _number(_at(self.label, "stable", "p"))

    @property
    def dwell_s(self) -> float:
        """Seconds for which the stable scene has been the same."""
        return _number(_at(self.label, "stable", "dwell_s"))

    @property
    def runner_up(self) -> str:
        """The best other scene over time, with its probability."""
        stable, ranking = _at(self.label, "stable", "scene"), _at(self.label, "smoothed")
        for entry in ranking if isinstance(ranking, list) else []:
            if isinstance(entry, list) and len(entry) == 2 and entry[0] != stable:
                return _printable(f"{entry[0]} {_number(entry[1]):.0%}")
        return ""

    @property
    def fps(self) -> float:
        """Labels per second."""
        return _number(_at(self.heartbeat, "fps"))

    @property
    def age(self) -> str:
        """Median age of the labels when they were published; empty for files, where it says little."""
        p50 = _at(self.heartbeat, "age_ms", "p50")
        return "" if p50 is None else f"{_number(p50):.0f} ms"

    @property
    def drops(self) -> str:
        """Frames lost so far, by cause; `0` if none."""
        latest = self.bye or self.heartbeat or self.label or {"drops": {}}
        drops = _at(latest, "drops")
        if not isinstance(drops, dict):
            return "?"
        return ", ".join(f"{cause} {count}" for cause, count in drops.items() if count) or "0"

    def status(self) -> str:
        """One plain line."""
        age = f", age {self.age}" if self.age else ""
        return (
            f"{self.source}: {self.scene} {self.p:.0%} for {self.dwell_s:.1f} s, "
            f"{self.fps:.1f} fps{age}, drops {self.drops}, {self.health}"
        )


class WatchView:
    """The sources of an address. Feed it with `take`; ask for `table` (a terminal) or for the lines (a pipe)."""

    def __init__(self) -> None:
        self.sources: dict[str, SourceView] = {}

    def take(self, body: Body) -> str | None:
        """Take a message of any kind; for an event the plain line that tells of it, else None."""
        view = self.sources.setdefault(body["source"], SourceView(body["source"]))
        kind = body["type"]
        if kind == "label":
            view.label, view.bye = body, None
        elif kind == "heartbeat":
            view.heartbeat, view.health = body, _printable(str(body.get("health", view.health)))
        elif kind != "frame":
            return self._event(view, body)
        return None

    def _event(self, view: SourceView, body: Body) -> str:
        if body["type"] == "bye":
            view.bye, view.health = body, "ended"
        elif body["type"] == "health":
            view.health = _printable(str(body.get("health", view.health)))
        tell = _TOLD.get(body["type"])
        return _printable(f"{view.source}: {tell(body) if tell is not None else body['type']}")

    def status_lines(self) -> list[str]:
        """One plain line a source, for those that still run and have said something."""
        return [view.status() for view in self.sources.values() if view.label is not None and view.bye is None]

    def table(self) -> Table:
        """All sources as a table for `rich`."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("source", "scene", "", "dwell", "runner-up", "fps", "age", "drops", "health"):
            table.add_column(title, justify="right" if title in ("dwell", "fps", "age") else "left", no_wrap=True)
        for view in self.sources.values():
            table.add_row(*_cells(view))
        return table


def _cells(view: SourceView) -> list[Text | str]:
    from rich.text import Text

    scene_style = "dim" if view.label is None or view.label.get("unknown") else "bold"
    held = bool(_at(view.label, "stable", "held"))
    return [
        Text(view.source),
        Text(view.scene, style=scene_style),
        Text(f"{_bar(view.p)} {view.p:4.0%}", style="yellow" if held else "green"),
        f"{view.dwell_s:.1f} s",
        Text(view.runner_up, style="dim"),
        f"{view.fps:.1f}",
        view.age,
        view.drops,
        Text(view.health, style=_HEALTH_STYLES.get(view.health, "red")),
    ]


def _bar(p: float) -> str:
    full = round(min(1.0, max(0.0, p)) * _BAR)
    return "━" * full + "╌" * (_BAR - full)


def _scene(body: Body) -> str:
    before = f"{body['from']} -> " if body.get("from") else ""
    return f"scene {before}{body.get('to')} at {_seconds(body)}"


def _bye(body: Body) -> str:
    reason = f": {body['error']}" if body.get("error") else ""
    return f"ended ({body.get('cause')}){reason}"


def _health(body: Body) -> str:
    reason = f" ({body['cause']})" if body.get("cause") else ""
    return f"{body.get('health')}{reason}"


# How each type of event is told in a line.
_TOLD: dict[str, Callable[[Body], str]] = {
    "scene": _scene,
    "cut": lambda body: f"cut at {_seconds(body)}",
    "rule": lambda body: f"rule {body.get('rule')} at {_seconds(body)}",
    "reconnect": lambda body: f"reconnected after {body.get('attempt')} attempts ({body.get('cause')})",
    "health": _health,
    "bye": _bye,
}


def _seconds(body: Body) -> str:
    """Stream time of a body, in seconds."""
    base = body.get("time_base")
    if not isinstance(base, list) or len(base) != 2 or not base[1]:
        return "?"
    return f"{_number(body.get('pts')) * _number(base[0]) / _number(base[1]):.2f} s"


def _at(body: Body | None, *path: str, default: Any = None) -> Any:
    """The value at a path of keys; `default` where there is none."""
    here: Any = body
    for key in path:
        here = here.get(key) if isinstance(here, dict) else None
    return default if here is None else here


def _printable(text: str) -> str:
    """`text` without what could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
