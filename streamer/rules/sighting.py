"""`Sighting`: what rules look at, one frame of one source; from a state of the pipeline or from a label message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from streamer.errors import MessageError
from streamer.message import Body, check_head
from streamer.state import SceneState


@dataclass(frozen=True, slots=True)
class Sighting:
    """The scene of one frame, without its picture.

    Attributes:
        source, epoch, pts, time_base, frame_id, t_capture_ns, clock: as in `Frame`.
        scene: the stable scene.
        p: its smoothed probability.
        unknown: no scene is to be believed, so `scene` is not either.
        groups: smoothed probability of each group of scenes.
    """

    source: str
    epoch: int
    pts: int
    time_base: Fraction
    frame_id: int
    t_capture_ns: int
    clock: str
    scene: str
    p: float
    unknown: bool
    groups: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)


def sighting_of(state: SceneState) -> Sighting:
    """What rules look at in a state of the pipeline."""
    frame = state.frame
    return Sighting(
        source=frame.source,
        epoch=frame.epoch,
        pts=frame.pts,
        time_base=frame.time_base,
        frame_id=frame.frame_id,
        t_capture_ns=frame.t_capture_ns,
        clock=frame.clock,
        scene=state.scene,
        p=float(state.p),
        unknown=bool(state.unknown),
        groups=state.groups,
    )


def sighting_in(body: Body) -> Sighting:
    """What rules look at in the body of a label message.

    Raises:
        MessageError: it is none of protocol version 1, or lacks what rules need.
    """
    check_head(body)
    try:
        stable: Mapping[str, Any] = body["stable"]
        return Sighting(
            source=body["source"],
            epoch=int(body["epoch"]),
            pts=int(body["pts"]),
            time_base=Fraction(*body["time_base"]),
            frame_id=int(body["frame_id"]),
            t_capture_ns=_unix_ns(body["t_capture_ns"]),
            clock=str(body["clock"]),
            scene=str(stable["scene"]),
            p=float(stable["p"]),
            unknown=bool(body["unknown"]),
            groups={str(name): float(p) for name, p in body.get("groups", {}).items()},
        )
    except KeyError as error:
        raise MessageError(f"label without {error.args[0]!r}") from error
    except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise MessageError(f"label with a value of another kind: {error}") from error


def _unix_ns(value: Any) -> int:
    number = int(value)
    if not 0 <= number < 2**63:
        raise ValueError(f"{str(number)[:20]}... is no time in nanoseconds")
    return number
