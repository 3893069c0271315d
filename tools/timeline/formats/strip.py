"""`<stem>.strip.png`: thumbnails over a band in the colours of the scenes, with times and a legend.

Without a video there is only the band.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from config.labels.scene_colours import UNKNOWN, Colour, scene_colours
from streamer.files import write_bytes
from streamer.frame import Picture
from streamer.paint import paint, rounded
from streamer.sinks.base import Target
from streamer.spans import SceneTimeline, Span
from streamer.text import BASELINE, Mask, Typesetter
from tools.timeline.axis import tick_step
from tools.timeline.film import thumbnails
from tools.timeline.recording import Recording
from tools.timeline.words import short_clock, title

WIDTH = 1920
MARGIN = 32
BAND = 72
_INNER = WIDTH - 2 * MARGIN
_TILE = 108  # height of a thumbnail, about
_GAP = 4
_TYPE = 20
_ROW = 34
_MOST_TICKS = 12
_PAPER: Colour = (255, 255, 255)
_INK: Colour = (28, 33, 40)
_MUTED: Colour = (96, 104, 115)


def write(recording: Recording, target: Target) -> list[Path]:
    """Write the file.

    Raises:
        SourceError: the video cannot be read.
        OutputError: the file cannot be written.
    """
    tiles = _tiles(recording)
    path = target.file("strip.png")
    good, data = cv2.imencode(".png", cv2.cvtColor(draw_strip(recording.timeline, tiles), cv2.COLOR_RGB2BGR))
    assert good, "PNG takes any picture"
    write_bytes(path, data.tobytes())
    return [path]


def _tiles(recording: Recording) -> list[Picture]:
    """As many thumbnails as fit side by side, each from the middle of its stretch of the band."""
    film, timeline = recording.film, recording.timeline
    if film is None:
        return []
    count = max(1, round(_INNER / (_TILE * film.width / film.height + _GAP)))
    # A little wider or narrower than planned, so that they fill the row.
    width = min((_INNER + _GAP) // count - _GAP, 4 * _TILE)
    height = max(1, round(width * film.height / film.width))
    times = [timeline.start + timeline.duration * Fraction(2 * i + 1, 2 * count) for i in range(count)]
    return thumbnails(film, times, (width, height))


def draw_strip(timeline: SceneTimeline, tiles: list[Picture]) -> Picture:
    """The strip, H×`WIDTH`×3 uint8 RGB; `BAND` pixels of it are the band, `MARGIN` from the left and right."""
    types = Typesetter()
    colours = {None: UNKNOWN} | scene_colours(scene for scene in timeline.scenes if scene is not None)
    legend = _legend_rows(types, timeline)
    band_top = MARGIN + (tiles[0].shape[0] + _GAP if tiles else 0)
    height = band_top + BAND + 2 * _ROW + len(legend) * _ROW + MARGIN // 2
    canvas = np.full((height, WIDTH, 3), _PAPER, np.uint8)
    _lay_tiles(canvas, tiles)
    for span in timeline.spans:
        _draw_span(canvas, types, timeline, span, band_top, colours[span.scene])
    _draw_cuts(canvas, timeline, band_top)
    _draw_axis(canvas, types, timeline, band_top + BAND)
    _draw_legend(canvas, legend, colours, band_top + BAND + 2 * _ROW)
    return canvas


def place(timeline: SceneTimeline, at: Fraction) -> int:
    """The column at which a time of the film stands."""
    return MARGIN + round(_INNER * (at - timeline.start) / timeline.duration)


def _lay_tiles(canvas: Picture, tiles: list[Picture]) -> None:
    for i, tile in enumerate(tiles):
        centre = MARGIN + _INNER * (2 * i + 1) // (2 * len(tiles))
        left = centre - tile.shape[1] // 2
        canvas[MARGIN : MARGIN + tile.shape[0], left : left + tile.shape[1]] = tile


def _draw_span(
    canvas: Picture, types: Typesetter, timeline: SceneTimeline, span: Span, top: int, colour: Colour
) -> None:
    left = place(timeline, span.start)
    right = max(left + 1, place(timeline, span.end))  # the shortest span is seen
    canvas[top : top + BAND, left:right] = colour
    room = right - left - 16
    name = types.line(title(span.scene), _TYPE)
    if name.shape[1] <= room:
        _stand(canvas, name, left + 8, top + BAND // 2 + 7, _INK)


def _draw_cuts(canvas: Picture, timeline: SceneTimeline, top: int) -> None:
    """A tick where the next picture begins; before it a line as long as the fade or dissolve."""
    for cut in timeline.cuts:
        column = place(timeline, cut.at)
        began = column if cut.start is None else place(timeline, cut.start)
        canvas[top - _GAP : top, began - 1 : column + 1] = _INK
        canvas[top : top + 10, column - 1 : column + 1] = _INK


def _draw_axis(canvas: Picture, types: Typesetter, timeline: SceneTimeline, top: int) -> None:
    step = tick_step(float(timeline.duration), _MOST_TICKS)
    first = -(-float(timeline.start) // step)
    for i in range(int(float(timeline.duration) / step) + 2):
        at = (first + i) * step
        if at > float(timeline.end):
            break
        column = place(timeline, Fraction(at))
        canvas[top : top + 8, column - 1 : column + 1] = _MUTED
        words = types.line(f"{at:.1f} s" if step < 1 else short_clock(at), _TYPE - 2)
        left = min(max(column - words.shape[1] // 2, 4), WIDTH - words.shape[1] - 4)
        _stand(canvas, words, left, top + 28, _MUTED)


Chip = tuple[str | None, Mask]
"""A scene and its words in the legend."""


def _legend_rows(types: Typesetter, timeline: SceneTimeline) -> list[list[Chip]]:
    """The scenes, the longest first, in rows that fit."""
    seconds = {scene: Fraction(0) for scene in timeline.scenes}
    for span in timeline.spans:
        seconds[span.scene] += span.duration
    rows: list[list[Chip]] = [[]]
    room = _INNER
    for scene in sorted(seconds, key=lambda scene: -seconds[scene]):
        share = float(seconds[scene] / timeline.duration)
        chip = scene, types.fit(f"{title(scene)} {share:.1%}", _TYPE, _INNER // 2)
        if rows[-1] and _chip_width(chip) > room:
            rows.append([])
            room = _INNER
        rows[-1].append(chip)
        room -= _chip_width(chip)
    return rows


def _chip_width(chip: Chip) -> int:
    return int(_TYPE + 8 + chip[1].shape[1] + 28)


def _draw_legend(canvas: Picture, rows: list[list[Chip]], colours: dict[str | None, Colour], top: int) -> None:
    swatch = rounded(_TYPE, _TYPE, 4)
    for number, row in enumerate(rows):
        left, y = MARGIN, top + number * _ROW
        for chip in row:
            scene, words = chip
            paint(canvas, swatch, left, y, colours[scene])
            _stand(canvas, words, left + _TYPE + 8, y + round(BASELINE * _TYPE), _INK)
            left += _chip_width(chip)


def _stand(canvas: Picture, line: Mask, x: int, baseline: int, colour: Colour) -> None:
    """Paint a line of type that stands on `baseline`."""
    paint(canvas, line, x, baseline - round(BASELINE * line.shape[0]), colour)
