"""A summary for people: tables of text, and the same as a picture drawn by matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from config.labels.scene_colours import UNKNOWN, scene_colours
from streamer.overlay import duration
from tools.plots import check_matplotlib, new_figure, png
from tools.timeline.summary import Summary
from tools.timeline.words import short_clock, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR = 24
_STRONG = 0.75  # of the most frequent transition: from there on the cell is dark and its number light


def summary_text(summary: Summary) -> str:
    """Three tables: shares, transitions, longest stays."""
    timeline = summary.timeline
    of = f"{duration(float(timeline.duration))}, {timeline.frames} frames"
    head = f"{timeline.source}: {of}, {len(timeline.spans)} spans, {len(timeline.cuts)} cuts"
    return "\n\n".join([head, _shares(summary), _transitions(summary), _stays(summary)]) + "\n"


def _shares(summary: Summary) -> str:
    width = max(5, *(len(title(share.scene)) for share in summary.shares))
    lines = [f"{'scene':<{width}} {'share':>6} {'seconds':>9} {'spans':>6} {'longest':>9} {'mean p':>7}"]
    for share in summary.shares:
        p = "-" if share.p is None else f"{share.p:.2f}"
        lines.append(
            f"{title(share.scene):<{width}} {share.share:6.1%} {float(share.seconds):9.2f} {share.spans:6d} "
            f"{float(share.longest):9.2f} {p:>7}  {'█' * round(_BAR * share.share)}".rstrip()
        )
    return "\n".join(lines)


def _transitions(summary: Summary) -> str:
    if not summary.transitions:
        return "no transitions"
    pairs = sorted(summary.transitions.items(), key=lambda item: (-item[1], title(item[0][0]), title(item[0][1])))
    width = max(4, *(len(title(before)) for (before, _), _ in pairs))
    lines = [f"{'from':<{width}}    {'to':<{width}} {'times':>6}"]
    lines += [f"{title(before):<{width}} -> {title(after):<{width}} {count:6d}" for (before, after), count in pairs]
    return "\n".join(lines)


def _stays(summary: Summary) -> str:
    lines = ["longest stays"]
    for span in summary.stays:
        times = f"{short_clock(float(span.start))} to {short_clock(float(span.end))}"
        lines.append(f"{float(span.duration):9.2f} s  {times:<16}  {title(span.scene)}")
    return "\n".join(lines)


def summary_png(summary: Summary) -> bytes:
    """Shares and longest stays as bars, transitions as a matrix.

    Raises:
        MissingLibraryError: there is no matplotlib.
    """
    check_matplotlib()
    timeline, scenes = summary.timeline, len(summary.shares)
    figure = new_figure(14, max(6.0, 3.4 + 0.36 * (scenes + len(summary.stays))))
    grid = figure.add_gridspec(2, 2, height_ratios=(scenes + 2, len(summary.stays) + 2), width_ratios=(1, 1.15))
    colours = _colours(summary)
    _draw_shares(figure.add_subplot(grid[0, 0]), summary, colours)
    _draw_stays(figure.add_subplot(grid[1, 0]), summary, colours)
    _draw_transitions(figure.add_subplot(grid[:, 1]), summary)
    figure.suptitle(f"{timeline.source}: {duration(float(timeline.duration))}, {timeline.frames} frames")
    return png(figure)


def _colours(summary: Summary) -> dict[str | None, tuple[float, ...]]:
    scenes = scene_colours(scene for scene in summary.timeline.scenes if scene is not None)
    return {scene: tuple(v / 255 for v in rgb) for scene, rgb in ({None: UNKNOWN} | scenes).items()}


def _draw_shares(axes: Axes, summary: Summary, colours: dict[str | None, Any]) -> None:
    rows = range(len(summary.shares))
    shares = [100 * share.share for share in summary.shares]
    axes.barh(rows, shares, color=[colours[share.scene] for share in summary.shares])
    axes.set_yticks(rows, [title(share.scene) for share in summary.shares])
    for row, share in zip(rows, shares, strict=True):
        axes.text(share + 0.01 * max(shares), row, f"{share:.1f} %", va="center", fontsize=8)
    axes.set(title="Share of time", xlabel="%", xlim=(0, 1.15 * max(shares)))
    _finish_bars(axes)


def _draw_stays(axes: Axes, summary: Summary, colours: dict[str | None, Any]) -> None:
    rows = range(len(summary.stays))
    axes.barh(rows, [float(s.duration) for s in summary.stays], color=[colours[s.scene] for s in summary.stays])
    axes.set_yticks(rows, [f"{title(span.scene)}, {short_clock(float(span.start))}" for span in summary.stays])
    axes.set(title="Longest stays, from when", xlabel="seconds")
    _finish_bars(axes)


def _finish_bars(axes: Axes) -> None:
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def _draw_transitions(axes: Axes, summary: Summary) -> None:
    from matplotlib.ticker import FixedLocator

    scenes = [share.scene for share in summary.shares]
    counts = np.array([[summary.transitions[before, after] for after in scenes] for before in scenes])
    most = max(1, counts.max())
    # Not up to the darkest blue: where each transition occurs once, all of them are the most frequent one.
    axes.imshow(np.where(counts > 0, counts, np.nan), cmap="Blues", vmin=0, vmax=1.6 * most)
    names = [title(scene) for scene in scenes]
    axes.set_xticks(range(len(scenes)), names, rotation=90 if len(scenes) > 5 else 0)
    axes.set_yticks(range(len(scenes)), names)
    for row, column in np.argwhere(counts > 0):
        colour = "white" if counts[row, column] > _STRONG * most else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=9)
    axes.set(title="Transitions", xlabel="to", ylabel="from")
    axes.set_anchor("N")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(FixedLocator([i + 0.5 for i in range(len(scenes) - 1)]))
    axes.grid(which="minor", color="0.9")
    axes.tick_params(which="minor", length=0)
