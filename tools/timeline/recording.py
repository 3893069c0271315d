"""A recording's timeline as every format needs it: spans and cuts, probability curves, the video if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from streamer.errors import LabelFileError
from streamer.label_file import read_labels
from streamer.sources.base import SourceInfo
from streamer.spans import SceneTimeline
from streamer.timeline import Timeline
from streamer.timeline_file import read_timeline_file
from tools.timeline.curves import CurveGatherer, Curves
from tools.timeline.film import Film, read_film


@dataclass(frozen=True, slots=True)
class Recording:
    """What was read of one file of labels.

    Attributes:
        timeline: its spans and cuts; its clock starts with the video, or with the first label if there is none.
        curves: probabilities from the first frame to the end of the last one.
        body: what stands in `<stem>.timeline.json`.
        film: the video; None if none was named.
    """

    timeline: SceneTimeline
    curves: Curves
    body: Mapping[str, Any]
    film: Film | None

    @property
    def browser_timeline(self) -> SceneTimeline:
        """The timeline on the clock that browsers give a video: the file's own, which may start after zero."""
        late = max(Fraction(0), self.film.start) if self.film else Fraction(0)
        return self.timeline.starting_at(self.timeline.start + late)


def read_recording(labels: Path, video: Path | None = None, source: str | None = None) -> Recording:
    """Read labels, and look at the video that they belong to.

    Without a video, the clock starts with the first label.

    Args:
        labels: a file of labels (see `streamer.label_file`).
        video: the recording itself, or the annotated one.
        source: whose labels, where the file has those of several sources.

    Raises:
        LabelFileError: the labels cannot be used, or belong to another video.
        SourceError: the video cannot be read.
    """
    film = None if video is None else read_film(video)
    gathered, curves = Timeline(), CurveGatherer()
    first = last = None
    for line in read_labels(labels, source):
        try:
            at = gathered.add_moment(line.moment)
        except ValueError as error:
            raise LabelFileError(f"{line.where}: {error}; are these labels of two runs?") from None
        curves.add(at, line.smoothed, line.moment.p_unknown)
        first, last = first or line, line
    assert first is not None and last is not None, "a file without labels is an error"
    timeline = gathered.spans(last.source, last.model)
    body = gathered.body(_info(last.source, film), last.model, last.smoother)
    if film is not None:
        timeline = timeline.starting_at(_lead(labels, first.moment.pts * first.moment.time_base, film))
    thinned = curves.curves(timeline.duration, timeline.scenes)
    return Recording(timeline, thinned, body, film)


def _lead(labels: Path, first: Fraction, film: Film) -> Fraction:
    """Seconds from the start of the video to the first label, which stands at `first` on the file's own clock."""
    if first < 0 <= film.start:
        first = Fraction(0)  # MP4 has no times before zero: the annotated video starts there
    lead = first - film.start
    # A container's start is rounded to a microsecond.
    if lead < Fraction(-1, 1000):
        raise LabelFileError(
            f"{labels} begins {float(-lead):.3f} s before {film.path} does; name the video that was annotated"
        )
    return max(Fraction(0), lead)


def _info(source: str, film: Film | None) -> SourceInfo | str:
    if film is None:
        return source
    return SourceInfo(source, str(film.path), False, film.width, film.height, film.time_base, film.rate, None)


def read_timeline(file: Path, source: str | None = None) -> SceneTimeline:
    """The timeline of a file of labels, or of a `.json` that holds a timeline.

    Raises:
        LabelFileError: it is neither.
    """
    if file.suffix.lower() == ".json":
        return read_timeline_file(file)
    return read_recording(file, source=source).timeline
