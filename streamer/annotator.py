"""The annotator: draws and compresses annotated frames, once for all subscribers and only while there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2

from streamer.frame import Picture
from streamer.message import EncodedFrame
from streamer.state import SceneState


class Annotator:
    """Body of the annotator's thread.

    Args:
        draw: makes the annotated picture of a state, H×W×3 uint8 RGB.
        quality: of the JPEG, 1..100.
        wanted: whether someone subscribes to the frames of that source (`Publisher.frames_wanted`).
        put: takes the compressed frames (`put` of a lane into the publisher's inbox).
    """

    def __init__(
        self,
        draw: Callable[[SceneState], Picture],
        quality: int,
        wanted: Callable[[str], bool],
        put: Callable[[EncodedFrame], None],
    ) -> None:
        self.skipped = 0
        """Frames that JPEG cannot hold (a side above 65,500 pixels)."""
        self._draw = draw
        self._quality = quality
        self._wanted = wanted
        self._put = put

    def run(self, states: Iterable[SceneState]) -> None:
        """Serve until `states`, a channel with room for a frame or two, has ended."""
        for state in states:
            if not self._wanted(state.source):
                continue
            picture = self._draw(state)
            data = jpeg(picture, self._quality)
            if data is None:
                self.skipped += 1
                continue
            self._put(_frame(state, picture, data))


def jpeg(picture: Picture, quality: int) -> bytes | None:
    """H×W×3 uint8 RGB as JPEG of that quality, 1..100; None if it cannot be encoded."""
    try:
        good, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error:
        return None
    return bytes(data) if good else None


def _frame(state: SceneState, picture: Picture, data: bytes) -> EncodedFrame:
    frame = state.frame
    return EncodedFrame(
        source=frame.source,
        epoch=frame.epoch,
        pts=frame.pts,
        time_base=frame.time_base,
        frame_id=frame.frame_id,
        label_seq=state.seq,
        width=int(picture.shape[1]),
        height=int(picture.shape[0]),
        data=data,
    )
