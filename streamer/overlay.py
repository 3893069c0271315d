"""Annotated frames: the stable scene and how sure it is, what comes next, and what the networks look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from config.labels import load_labels
from config.labels.palette import ade20k_palette
from config.schema import OverlaySettings
from models.prediction import Prediction
from streamer.frame import Picture
from streamer.paint import Box, Colour, bar, frosted, paint, rounded
from streamer.state import SceneState
from streamer.text import BASELINE, Mask, Typesetter
from streamer.tint import SPAN_OF_ACTIVATION, heat, heat_colours, tint

GLASS: Colour = (14, 17, 23)
INK: Colour = (246, 248, 250)
MUTED: Colour = (178, 186, 197)
STEADY: Colour = (94, 214, 176)
HELD: Colour = (250, 190, 88)
UNSURE: Colour = (190, 197, 207)

Chip = tuple[Picture, Mask]
"""A swatch of colour and its words."""

_GLASS_OPACITY = 0.7
_LEGEND_SIZE = 5
_LEGEND_SMALLEST = 0.02


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes in pixels that follow from the size of the frame, so that type looks alike at 240p and at 4K.

    Attributes:
        body: height of a line of body type; at least 10, below which letters fall apart.
        title: height of the scene's name.
        margin: between panels and the edge of the frame.
        pad: between the edge of a panel and what stands in it.
        panel: outer width of the scene's panel.
    """

    body: int
    title: int
    margin: int
    pad: int
    panel: int

    @classmethod
    def of(cls, width: int, height: int) -> Layout:
        """The layout of frames of that size; in portrait the width limits the type."""
        body = max(10, round(0.026 * min(height, 0.8 * width)))
        margin = max(2, round(0.7 * body)) if min(width, height) > 6 * body else 2
        return cls(
            body=body,
            title=round(1.75 * body),
            margin=margin,
            pad=round(0.8 * body),
            panel=min(17 * body, width - 2 * margin),
        )

    @property
    def row(self) -> int:
        """Height of a runner-up's row."""
        return round(1.45 * self.body)

    @property
    def bar(self) -> int:
        """Height of the bar under the scene's name."""
        return max(3, round(0.36 * self.body))

    @property
    def head(self) -> int:
        """Height of name, bar and status line."""
        return self.title + round(0.3 * self.body) + self.bar + round(0.45 * self.body) + self.body


class Overlay:
    """Draws what is known about a frame onto a copy of it. One instance serves one thread, and any frame size.

    Frames too small for type show the tint alone.
    """

    def __init__(self, settings: OverlaySettings) -> None:
        self._settings = settings
        self._type = Typesetter()
        self._palette = ade20k_palette()
        self._class_names = load_labels("ade20k_objects").names

    def draw(self, state: SceneState) -> Picture:
        """A new H×W×3 uint8 RGB picture; the frame in `state` is left as it is."""
        image = state.frame.image
        canvas = self._backdrop(image, state.prediction)
        layout = Layout.of(image.shape[1], image.shape[0])
        bottom = self._scene_panel(canvas, layout, state)
        if bottom and self._settings.legend:
            self._legend(canvas, layout, state.prediction, bottom)
        return canvas

    def _backdrop(self, image: Picture, prediction: Prediction) -> Picture:
        if self._settings.heat_map == "gate" and prediction.gate is not None:
            return heat(image, prediction.gate, prediction.view)
        if self._settings.heat_map == "activation" and prediction.activation is not None:
            return heat(image, prediction.activation, prediction.view, SPAN_OF_ACTIVATION)
        if self._settings.heat_map != "off":
            return image.copy()
        if self._settings.tint > 0 and prediction.class_map is not None:
            return tint(image, prediction.class_map, self._palette, self._settings.tint)
        return image.copy()

    def _scene_panel(self, canvas: Picture, layout: Layout, state: SceneState) -> int:
        """Paint the panel in the left upper corner; gives its lower edge, 0 if the frame is too small for one."""
        room = canvas.shape[0] - 2 * layout.margin - 2 * layout.pad - layout.head
        inner = layout.panel - 2 * layout.pad
        if room < 0 or inner < 5 * layout.body:
            return 0
        gap = round(0.45 * layout.body)
        runners = _ranking(state)[1 : 1 + self._settings.runner_ups][: max(0, (room - gap) // layout.row)]
        height = 2 * layout.pad + layout.head + (gap + len(runners) * layout.row if runners else 0)
        box = Box(layout.margin, layout.margin, layout.panel, height)
        frosted(canvas, box, layout.pad, GLASS, _GLASS_OPACITY)
        self._head(canvas, layout, state)
        y = layout.margin + layout.pad + layout.head + gap
        for name, p in runners:
            accent = HELD if state.held and not state.unknown and p > state.p else MUTED
            self._runner_up(canvas, layout, y, scene_title(name), p, accent)
            y += layout.row
        return layout.margin + height

    def _head(self, canvas: Picture, layout: Layout, state: SceneState) -> None:
        """Name, probability, bar and status of the stable scene."""
        x, y = layout.margin + layout.pad, layout.margin + layout.pad
        inner = layout.panel - 2 * layout.pad
        accent = UNSURE if state.unknown else HELD if state.held else STEADY
        scene, p = _ranking(state)[0]
        percent = self._type.line(_percent(p), round(1.15 * layout.body))
        title = "Unknown" if state.unknown else scene_title(scene)
        left = x
        if state.unknown:
            left += self._question_mark(canvas, layout, x, y)
        room = x + inner - percent.shape[1] - layout.body // 2 - left
        name = self._type.fit(title, layout.title, room, bold=True, smallest=layout.body)
        baseline = y + round(BASELINE * layout.title)
        _stand(canvas, name, left, baseline, UNSURE if state.unknown else INK)
        _stand(canvas, percent, x + inner - percent.shape[1], baseline, MUTED if state.unknown else INK)
        y += layout.title + round(0.3 * layout.body)
        bar(canvas, Box(x, y, inner, layout.bar), p, accent, INK)
        y += layout.bar + round(0.45 * layout.body)
        self._status(canvas, layout, state, y)

    def _question_mark(self, canvas: Picture, layout: Layout, x: int, y: int) -> int:
        """A grey disc with a question mark before the title; gives the room that it takes."""
        size = round(0.95 * layout.title)
        mark = self._type.line("?", round(0.75 * size), bold=True)
        paint(canvas, rounded(size, size, size / 2), x, y, UNSURE, 0.9)
        _stand(canvas, mark, x + (size - mark.shape[1]) // 2, y + round(0.77 * size), GLASS)
        return size + layout.body // 2

    def _status(self, canvas: Picture, layout: Layout, state: SceneState, y: int) -> None:
        """How long the scene has stood, and what this frame alone says if that is something else."""
        x, inner = layout.margin + layout.pad, layout.panel - 2 * layout.pad
        shown = _ranking(state)[0][0]
        left = f"closest: {scene_title(shown)}" if state.unknown else f"for {duration(state.dwell_s)}"
        baseline = y + round(BASELINE * layout.body)
        since = self._type.fit(left, layout.body, inner)
        _stand(canvas, since, x, baseline, MUTED)
        raw = state.prediction.scene
        glimpse = self._type.line(f"now: {scene_title(raw)}", layout.body)
        if raw != shown and glimpse.shape[1] <= inner - since.shape[1] - layout.body:
            accent = HELD if state.held and not state.unknown else MUTED
            _stand(canvas, glimpse, x + inner - glimpse.shape[1], baseline, accent)

    def _runner_up(self, canvas: Picture, layout: Layout, y: int, title: str, p: float, accent: Colour) -> None:
        x, inner = layout.margin + layout.pad, layout.panel - 2 * layout.pad
        baseline = y + (layout.row - layout.body) // 2 + round(BASELINE * layout.body)
        percent = self._type.line(_percent(p), layout.body)
        widest = self._type.line("00%", layout.body).shape[1]
        name_room = round(0.5 * inner)
        _stand(canvas, self._type.fit(title, layout.body, name_room), x, baseline, MUTED)
        _stand(canvas, percent, x + inner - percent.shape[1], baseline, MUTED)
        thickness = max(2, layout.bar // 2)
        middle = baseline - round(0.27 * layout.body) - thickness // 2
        length = inner - name_room - widest - layout.body
        bar(canvas, Box(x + name_room + layout.body // 2, middle, length, thickness), p, accent, INK, 0.12)

    def _legend(self, canvas: Picture, layout: Layout, prediction: Prediction, above: int) -> None:
        """A strip at the lower edge that explains the colours of the tint or the heat."""
        gap, height = layout.body, 2 * (layout.pad // 2) + layout.body
        room = canvas.shape[1] - 2 * layout.margin - 2 * layout.pad
        top = canvas.shape[0] - layout.margin - height
        chips = self._chips(layout, prediction, room, gap)
        if not chips or top < above + layout.body // 2:
            return
        widths = [_chip_width(chip) for chip in chips]
        outer = sum(widths) + gap * (len(widths) - 1) + 2 * layout.pad
        frosted(canvas, Box(layout.margin, top, outer, height), height // 2, GLASS, _GLASS_OPACITY)
        x, y = layout.margin + layout.pad, top + layout.pad // 2
        for (swatch, text), width in zip(chips, widths, strict=True):
            _stamp(canvas, swatch, x, y + (layout.body - swatch.shape[0]) // 2)
            _stand(canvas, text, x + width - text.shape[1], y + round(BASELINE * layout.body), INK)
            x += width + gap

    def _chips(self, layout: Layout, prediction: Prediction, room: int, gap: int) -> list[Chip]:
        """What the legend says, at most `room` pixels wide."""
        if self._settings.heat_map != "off":
            chip = self._heat_chip(layout, prediction, room)
            return [] if chip is None else [chip]
        if self._settings.tint == 0:
            return []
        known = min(len(self._class_names), len(self._palette) - 1)
        largest = [item for item in prediction.class_shares(_LEGEND_SMALLEST) if item[0] <= known][:_LEGEND_SIZE]
        while largest:
            # In the order of ids and not of shares: classes of like size would change places from frame to frame.
            chips = [self._class_chip(layout, class_id, share) for class_id, share in sorted(largest)]
            if sum(map(_chip_width, chips)) + gap * (len(chips) - 1) <= room:
                return chips
            largest.pop()
        return []

    def _heat_chip(self, layout: Layout, prediction: Prediction, room: int) -> Chip | None:
        """What the heat means, in as many words as there is room for; None if there is room for none."""
        ramp = np.tile(np.linspace(0, 255, 5 * layout.body, dtype=np.uint8), (_swatch_side(layout), 1))
        for words in self._heat_words(prediction):
            chip = heat_colours(ramp), self._type.line(words, layout.body)
            if _chip_width(chip) <= room:
                return chip
        return None

    def _heat_words(self, prediction: Prediction) -> tuple[str, ...]:
        """What the heat means, in many words and in few."""
        if self._settings.heat_map == "gate":
            return ("gate: closed to open", "gate") if prediction.gate is not None else ("no gate here",)
        if prediction.activation is None:
            return ("no activation map here", "no map here")
        # Of this frame alone, and so not always of the scene in the panel.
        scene = scene_title(prediction.scene)
        return (f"speaks for {scene}: least to most", f"for {scene}", "activation")

    def _class_chip(self, layout: Layout, class_id: int, share: float) -> Chip:
        side = _swatch_side(layout)
        swatch = np.full((side, side, 3), self._palette[class_id], dtype=np.uint8)
        return swatch, self._type.line(f"{self._class_name(class_id)} {_percent(share)}", layout.body)

    def _class_name(self, class_id: int) -> str:
        return scene_title(self._class_names[class_id - 1].replace(",", ";").split(";")[0])


def scene_title(label: str) -> str:
    """A label as people write it: "living_room" is "Living room", "/c/church/outdoor" is "Church, outdoor"."""
    parts = [part for part in label.split("/") if part]
    if len(parts) > 1 and len(parts[0]) == 1:  # the folder of its first letter, in Places365
        parts = parts[1:]
    words = ", ".join(parts).replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def duration(seconds: float) -> str:
    """Seconds in words: "0.4 s", "12 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{100 * share:.0f}%"


def _ranking(state: SceneState) -> list[tuple[str, float]]:
    """The scene that the panel is about, then the others: the stable one, or the likeliest if none is believed."""
    if state.unknown:
        return state.smoothed
    return [(state.scene, state.p)] + [(name, p) for name, p in state.smoothed if name != state.scene]


def _stand(canvas: Picture, line: Mask, x: int, baseline: int, colour: Colour) -> None:
    """Paint a line of type that stands on `baseline`, whatever its size."""
    paint(canvas, line, x, baseline - round(BASELINE * line.shape[0]), colour)


def _stamp(canvas: Picture, picture: Picture, x: int, y: int) -> None:
    region = canvas[y : y + picture.shape[0], x : x + picture.shape[1]]
    region[:] = picture[: region.shape[0], : region.shape[1]]


def _swatch_side(layout: Layout) -> int:
    return round(0.72 * layout.body)


def _chip_width(chip: Chip) -> int:
    swatch, words = chip
    return int(swatch.shape[1] + 0.7 * swatch.shape[0] + words.shape[1])
