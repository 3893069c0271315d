"""`<stem>.timeline.html`: one page with the video, the band to click on, the probability curves and a search.

The page needs no server and nothing from elsewhere but the video, which it finds by a relative path: the two must stay
together. Its parts lie in `tools/timeline/page`; what they show is a JSON object in a script tag:

| key | is |
|---|---|
| `start_s`, `end_s` | from when to when the timeline is, in seconds of the video |
| `scenes` | `id`, `title`, `colour`, `unknown`, `share` of the time; the longest first |
| `spans` | `scene` (an id), `start_s`, `end_s`, `p` (or null) |
| `cuts` | `kind` (or null), `start_s` and `end_s`: the same time of a hard one |
| `curves` | `points`, `step_s`, and for each of its `scenes` the probabilities `p` |
| `frames`, `model`, `video` | facts to show |
| `note` | how the curves are to be read |
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from config.labels.scene_colours import UNKNOWN, scene_colours
from streamer.files import write_bytes
from streamer.sinks.base import Target
from streamer.spans import Cut
from tools.timeline.curves import Curves
from tools.timeline.page import FOLDER
from tools.timeline.recording import Recording
from tools.timeline.summary import summarise
from tools.timeline.words import title

_UNKNOWN_ID = ""
"""Stands for the time without a scene."""

_NOTE = "of each scene, if one of them is shown; dashed: that none of them is"


def write(recording: Recording, target: Target) -> list[Path]:
    """Write the page."""
    path = target.file("timeline.html")
    write_bytes(path, _page(recording, target).encode())
    return [path]


def _page(recording: Recording, target: Target) -> str:
    style, script = ((FOLDER / f"timeline.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    video = _video_path(recording, target.directory)
    parts = {
        # Only what this file holds may run, and nothing may be loaded but the video.
        "csp": f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "media-src 'self' file:; img-src data:; base-uri 'none'; form-action 'none'",
        "title": html.escape(target.stem),
        "style": style,
        "video": _video_tag(video),
        "data": _embedded(page_data(recording, video)),
        "script": script,
    }
    page = (FOLDER / "timeline.html").read_text(encoding="utf-8")
    # In one go: a part that happens to hold the mark of another one stays as it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], page)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _video_path(recording: Recording, directory: Path) -> str | None:
    """The video's path as seen from the page."""
    if recording.film is None:
        return None
    return Path(os.path.relpath(recording.film.path.resolve(), directory.resolve())).as_posix()


def _video_tag(video: str | None) -> str:
    if video is None:
        return '<p class="none">This timeline was made without its video; the band and the list still work.</p>'
    return f'<video src="{html.escape(quote(video))}" controls preload="metadata" playsinline></video>'


def _embedded(data: dict[str, Any]) -> str:
    """JSON that can stand in a script tag: nothing in it ends the tag or begins a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def page_data(recording: Recording, video: str | None) -> dict[str, Any]:
    """What the page shows, in JSON's types."""
    timeline = recording.browser_timeline
    return {
        "start_s": round(float(timeline.start), 6),
        "end_s": round(float(timeline.end), 6),
        "frames": timeline.frames,
        "model": timeline.model.get("name"),
        "video": video,
        "note": _NOTE if None in recording.curves.scenes else "",
        "scenes": _scenes(recording),
        "spans": [
            {
                "scene": _id(span.scene),
                "start_s": round(float(span.start), 6),
                "end_s": round(float(span.end), 6),
                "p": None if span.p is None else round(span.p, 3),
            }
            for span in timeline.spans
        ],
        "cuts": [_cut(cut) for cut in timeline.cuts],
        "curves": _curves(recording.curves),
    }


def _cut(cut: Cut) -> dict[str, Any]:
    start = cut.at if cut.start is None else cut.start
    return {"kind": cut.kind, "start_s": round(float(start), 6), "end_s": round(float(cut.at), 6)}


def _id(scene: str | None) -> str:
    return _UNKNOWN_ID if scene is None else scene


def _scenes(recording: Recording) -> list[dict[str, Any]]:
    """The scenes with a span, the longest first, then those that only have a curve."""
    shares = {share.scene: share.share for share in summarise(recording.timeline).shares}
    scenes = [*shares, *(scene for scene in recording.curves.scenes if scene not in shares)]
    colours = {None: UNKNOWN} | scene_colours(scene for scene in scenes if scene is not None)
    return [
        {
            "id": _id(scene),
            "title": title(scene),
            "colour": "#" + bytes(colours[scene]).hex(),
            "unknown": scene is None,
            "share": round(shares.get(scene, 0.0), 6),
        }
        for scene in scenes
    ]


def _curves(curves: Curves) -> dict[str, Any]:
    return {
        "points": curves.values.shape[1],
        "step_s": float(curves.step),
        "scenes": [
            {"scene": _id(scene), "p": [round(float(p), 3) for p in row]}
            for scene, row in zip(curves.scenes, curves.values, strict=True)
        ],
    }
