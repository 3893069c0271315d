"""What every source is: something that opens, yields `Frame`s in order, and closes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from streamer.closing import Closing
from streamer.frame import Clock, Frame, Picture


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open.

    Attributes:
        name: the source's name on the bus.
        uri: its address without credentials, fit for a log.
        live: frames are lost if nobody takes them (cameras, network streams).
        width, height: size of the upright picture in pixels; it may change within a stream.
        time_base: seconds per unit of pts.
        frame_rate: average frames per second, if the stream says; never used to compute a time.
        frame_count: frames that the source expects to deliver, None if unknown or endless.
    """

    name: str
    uri: str
    live: bool
    width: int
    height: int
    time_base: Fraction
    frame_rate: Fraction | None = None
    frame_count: int | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A picture as a decoder gives it, before it gets its place in the run (see `Frame` for units)."""

    image: Picture
    pts: int
    time_base: Fraction
    t_capture_ns: int


@dataclass(frozen=True, slots=True)
class Mark:
    """A frame after which a recording is to go on.

    Attributes:
        pts, epoch, frame_id: of the frame, as in `Frame`.
        decode_drops: pictures that the decoder had given up before it.
    """

    pts: int
    epoch: int
    frame_id: int
    decode_drops: int = 0


class Source(Closing):
    """One stream of pictures. Subclasses open, decode and close; numbering and epochs are done here.

    A source belongs to one thread. `open` may be called again after `close` (a reconnect): frame numbers go on and
    the epoch grows by one.
    """

    clock: Clock
    """How the capture times of this source are had; known once it is open."""

    def __init__(self, name: str, uri: str) -> None:
        """`uri` is the address without credentials: it goes to logs and messages."""
        self.name = name
        self.uri = uri
        self.decode_drops = 0
        """Pictures that the decoder had to give up (damaged data)."""
        self._next_id = 0
        self._epoch = 0
        self._opened = False
        self._shots: Iterator[Decoded] | None = None
        self._last_pts: int | None = None
        self._mark: Mark | None = None

    def resume(self, mark: Mark) -> None:
        """Begin with the frame after `mark`, with number, epoch and count of drops as if those before had been read.

        To be called before `open`, and only for what reads the same each time: a recording.
        """
        self._mark = mark
        self._next_id, self._epoch, self.decode_drops = mark.frame_id + 1, mark.epoch, mark.decode_drops

    @abstractmethod
    def _open(self) -> SourceInfo:
        """Open the stream. Raises SourceError, one line that says what to do."""

    @abstractmethod
    def _decode(self) -> Iterator[Decoded]:
        """Yield every picture to the end. Raises SourceLost (live), TruncatedError or SourceError."""

    def _decode_after(self, mark: Mark) -> Iterator[Decoded]:
        """Yield every picture after the mark's. Here all are decoded; sources that can seek do better."""
        shots = self._decode()
        for _ in islice(shots, mark.frame_id + 1):
            pass
        self.decode_drops = mark.decode_drops
        yield from shots

    @property
    def epoch(self) -> int:
        """The epoch of the frames that come next."""
        return self._epoch

    def open(self) -> SourceInfo:
        """Open or reopen the stream.

        Raises:
            SourceError: it cannot be opened; the message says what to do.
        """
        self._shots, self._last_pts = None, None
        info = self._open()
        self._epoch += self._opened  # only an attempt that succeeds is a new epoch
        self._opened = True
        return info

    def frames(self) -> Iterator[Frame]:
        """Every frame in order; pts that run backwards start a new epoch.

        A second call goes on where the first was left, and after the end of the stream it ends at once.

        Raises:
            SourceLost: a live source went silent.
            TruncatedError: a recording ended early; all frames before that were yielded.
        """
        if self._shots is None and self._mark is not None:
            self._shots = self._decode_after(self._mark)
            self._last_pts = self._mark.pts
        if self._shots is None:
            self._shots = self._decode()
        for shot in self._shots:
            if self._last_pts is not None and shot.pts <= self._last_pts:
                self._epoch += 1
            self._last_pts = shot.pts
            number, self._next_id = self._next_id, self._next_id + 1
            yield Frame(
                image=shot.image,
                pts=shot.pts,
                time_base=shot.time_base,
                frame_id=number,
                source=self.name,
                epoch=self._epoch,
                t_capture_ns=shot.t_capture_ns,
                clock=self.clock,
            )
