"""What every sink is: a consumer of scene states that writes files, and is done only when all of them are whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from config.schema import OverlaySettings
from streamer.recording import Recording
from streamer.sources.base import SourceInfo
from streamer.state import SceneState


@dataclass(frozen=True, slots=True)
class Target:
    """What the builder of every sink gets beside its own parameters: `build(params, *, target: Target) -> Sink`.

    Attributes:
        directory: where results go; made if need be.
        stem: how their names begin.
        overlay: what annotated frames show.
        run: UUID of this run, for the bodies of labels.
        recording: the file whose frames these are, whose other streams an annotated video keeps; None for any other
            source.
        parts: folder for what is done of a job that can be resumed; it belongs to the job, which removes it. None for
            a job that cannot.
    """

    directory: Path
    stem: str
    overlay: OverlaySettings = field(default_factory=OverlaySettings)
    run: str = ""
    recording: Recording | None = None
    parts: Path | None = None

    def file(self, ending: str) -> Path:
        """`DIR/<stem>.<ending>`."""
        return self.directory / f"{self.stem}.{ending}"

    def part(self, number: int, ending: str) -> Path:
        """Where a segment's share of `<stem>.<ending>` stands in `parts`."""
        assert self.parts is not None, "the job has no folder of parts"
        return self.parts / f"{number:06d}.{ending}"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one pass over a recording; a job that is resumed goes on with the next one.

    Attributes:
        number: 0, 1, 2... within the pass.
        pass_number: 0 for the first time through the recording.
        start_pts: pts of the first frame, None for the start of the stream.
    """

    number: int = 0
    pass_number: int = 0
    start_pts: int | None = None


class Sink(ABC):
    """Takes every state of one source and writes a result.

    Life: `open` → for every pass and segment `begin`, `write`..., `end` → `close`. Files are written beside their
    target and moved there by `close`; `abort` removes what is unfinished. A resumed job calls `recall` after `open`,
    once for each frame of the segments that are done, and begins with the next one. With `passes = 2` the driver goes
    through the recording twice: what the first pass learned (a smoothing that looks ahead, an index) serves the second.
    Sinks with fewer passes beside it take part in the last ones alone, so every sink sees each frame once a pass.

    As a context manager a sink is aborted by an exception; else the caller calls `close`, which gives the results.
    """

    passes: ClassVar[int] = 1

    @abstractmethod
    def open(self, source: SourceInfo) -> None:
        """Prepare for a source. Raises OutputError where the target cannot be written."""

    def recall(self, state: SceneState) -> None:  # noqa: B027 - most sinks remember nothing of it
        """A state that an earlier run has written; its picture and class map are gone, the rest is as it was."""

    def begin(self, segment: Segment) -> None:  # noqa: B027 - most sinks write in one piece
        """A segment starts."""

    @abstractmethod
    def write(self, state: SceneState) -> None:
        """Take the next state of the segment. Raises OutputError where the disk does not take it."""

    def end(self, segment: Segment) -> None:  # noqa: B027 - see `begin`
        """The segment is complete; what it wrote must survive a crash from here on."""

    @abstractmethod
    def close(self) -> list[Path]:
        """Finish: move files to their place and name them. Nothing is made of no frames at all.

        Raises:
            OutputError: a file could not be completed; then nothing of it stands at its target.
        """

    @abstractmethod
    def abort(self) -> None:
        """Remove everything unfinished; may be called at any time, also twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
