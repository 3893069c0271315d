"""Files of labels made by hand, for tests of timelines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from scene_states import make_state

from streamer.message import label_body

RUN = "11111111-2222-3333-4444-555555555555"
UNKNOWN = "?"


def label(scene: str, pts: int, *, run: str = RUN, **changes) -> dict:
    """The label of a frame; `UNKNOWN` stands for no scene."""
    known = {"unknown": True} if scene == UNKNOWN else {"scene": scene}
    return label_body(make_state(pts=pts, seq=pts, **known, **changes), run=run, t_publish_ns=0)


def labels(scenes: Iterable[str], *, step: int = 1, first: int = 0, **changes) -> list[dict]:
    """The labels of frames `step` ticks apart."""
    return [label(scene, first + i * step, **changes) for i, scene in enumerate(scenes)]


def write_labels(path: Path, bodies: Iterable[dict]) -> Path:
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    return path


def write_video(
    path: Path,
    pts: Iterable[int],
    time_base: Fraction = Fraction(1, 25),
    size: tuple[int, int] = (160, 90),
    rate: Fraction = Fraction(25),
) -> Path:
    """An MP4 with frames at those times, dark to bright, a key frame every tenth."""
    ticks = str(time_base.denominator)
    with av.open(str(path), "w", options={"video_track_timescale": ticks, "movie_timescale": ticks}) as film:
        stream = film.add_stream("libx264", rate=rate, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = stream.time_base = time_base
        for i, time in enumerate(pts):
            picture = np.full((size[1], size[0], 3), min(250, 10 + 2 * i), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, time_base
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return path
