"""What `annotate` also makes on request: timelines in other formats, chapters in the video, labels in MCAP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from config.errors import UserError
from tools.annotate import Annotation
from tools.label_copy import copy_labels
from tools.timeline.chapters import add_chapters
from tools.timeline.recording import read_recording
from tools.timeline.writing import write_recording


@dataclass(frozen=True, slots=True)
class Extras:
    """What to make beside the results.

    Attributes:
        formats: of timelines, as `tools.timeline.formats` names them.
        chapters: a chapter for each span of the timeline goes into the annotated video.
        mcap: the labels in MCAP too.
    """

    formats: tuple[str, ...] = ()
    chapters: bool = False
    mcap: bool = False

    def add_to(self, annotation: Annotation) -> Annotation:
        """The annotation with the extra files; what goes wrong with them becomes its problem, if it has no other."""
        if not annotation.files or not (self.formats or self.chapters or self.mcap):
            return annotation
        video, labels = annotation.files[:2]
        files = list(annotation.files)
        try:
            written = self._written(video, labels, annotation.video.stem)
            files += [file for file in written if file not in files]
        except UserError as error:
            return replace(annotation, problem=annotation.problem or str(error))
        return replace(annotation, files=files)

    def _written(self, video: Path, labels: Path, stem: str) -> list[Path]:
        """The extra files of one recording."""
        written = []
        if self.formats or self.chapters:
            recording = read_recording(labels, video)
            if self.chapters:
                add_chapters(video, video, recording.timeline)
            written += write_recording(recording, labels.parent, stem, self.formats)
        if self.mcap:
            written.append(labels.with_suffix(".mcap"))
            copy_labels(labels, written[-1])
        return written
