"""Writes the semantics of a data set once, so that training and evaluation need no segmenter.

A run can be killed at any time and started again: files appear whole or not at all, and what is there and whole is
kept. What made a file stands in it, so that files of two segmenters never mix unseen.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue

from config.errors import UserError
from models.encoding import LabelBase
from models.package import find_package
from models.segmentation import PictureSegmenter, load_segmenter
from streamer.errors import OutputError
from tools.data.manifest import Entry, ManifestError, PictureManifest, picture_size
from tools.data.semantics import BASE_KEY, SCALES_KEY, SEGMENTER_KEY, SHA256_KEY, SemanticFiles
from tools.parallel import default_workers, in_order, one_torch_thread

PAPER_SCALES = (300, 375, 450, 525, 600)  # short sides in pixels, "Semantic-Aware Scene Recognition"

_log = logging.getLogger(__name__)
_COMPARED_KEYS = (BASE_KEY, SEGMENTER_KEY, SHA256_KEY, SCALES_KEY)

Job = tuple[PictureManifest, int]
Progress = Callable[[int, int], None]


@dataclass
class Precomputed:
    """What a run did.

    Attributes:
        written: pictures whose files are new.
        kept: pictures whose files were there and whole.
        failures: the other pictures, and why.
    """

    written: int = 0
    kept: int = 0
    failures: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """What a run shall do.

    Attributes:
        segmenter: a model with a segmenter.
        scales: short sides in pixels; None: the paper's for a segmenter that sees pictures at any size.
        base: of the labels, 0 or 1.
        device: of torch.
        workers: pictures at once; None: one a core.
        force: whether to replace files that something else made.
    """

    segmenter: str
    scales: tuple[int, ...] | None = None
    base: int = 0
    device: str = "auto"
    workers: int | None = None
    force: bool = False

    @property
    def title(self) -> str:
        """The segmenter and its scales, for people."""
        scales = scales_of(self.segmenter, self.scales)
        return self.segmenter if scales is None else f"{self.segmenter} at {', '.join(map(str, scales))} pixels"


@dataclass(frozen=True)
class Semantics:
    """What shall be in the files, and where they go.

    Attributes:
        files: the files, with what makes them in `notes`.
        base: of the labels.
    """

    files: SemanticFiles
    base: LabelBase

    @property
    def notes(self) -> dict[str, str]:
        """What a file that is made now says about itself."""
        return {BASE_KEY: str(int(self.base)), **self.files.notes}


def scales_of(segmenter: str, scales: Sequence[int] | None) -> tuple[int, ...] | None:
    """The scales to average over: those given, else the paper's for a segmenter of the paper's kind, else None.

    Raises:
        ModelError: there is no such model.
    """
    if scales is not None or segmenter.startswith("huggingface:"):
        return None if scales is None else tuple(scales)
    return PAPER_SCALES if find_package(segmenter).manifest.kind == "segmenter" else None


def load_segmenters(
    name: str, scales: Sequence[int] | None, device: str, workers: int | None
) -> list[PictureSegmenter]:
    """A segmenter for each worker, None being one a core; `scales` as in `scales_of`.

    Raises:
        ModelError: there is no such model, it has no segmenter, or it cannot take these scales.
    """
    used = scales_of(name, scales)
    return [load_segmenter(name, device=device, short_sides=used) for _ in range(workers or default_workers())]


def notes_of(segmenter: PictureSegmenter, scales: Sequence[int] | None) -> dict[str, str]:
    """What made a file, for its text chunk: the segmenter, the SHA-256 of its weights, the scales."""
    notes = {SEGMENTER_KEY: segmenter.name, SCALES_KEY: ",".join(map(str, scales)) if scales else "own"}
    return notes | ({SHA256_KEY: segmenter.sha256} if segmenter.sha256 else {})


def precompute_pictures(
    manifests: Sequence[PictureManifest],
    files: SemanticFiles,
    segmenters: Sequence[PictureSegmenter],
    wanted: Wanted,
    checking: Progress,
    working: Progress,
) -> Precomputed:
    """Bring the semantics of all pictures up to date; `checking` and `working` hear how far that is.

    Raises:
        ManifestError: files are there that something else made, or two pictures would have the same ones.
        OutputError: files cannot be written, or another run writes them.
    """
    notes = notes_of(segmenters[0], scales_of(wanted.segmenter, wanted.scales))
    semantics = Semantics(replace(files, notes=notes), LabelBase(wanted.base))
    jobs = jobs_of(manifests, files)
    with sole_writer(files), one_torch_thread():
        left = find_work(jobs, semantics, len(segmenters), wanted.force, checking)
        report = precompute(left, segmenters, semantics, working)
    report.kept = len(jobs) - len(left)
    return report


def jobs_of(manifests: Sequence[PictureManifest], files: SemanticFiles) -> list[Job]:
    """Every picture once, in order.

    Raises:
        ManifestError: two pictures would have the same files ("a.jpg" and "a.png").
    """
    jobs: list[Job] = []
    owners: dict[Path, Entry] = {}
    for manifest in manifests:
        for index, entry in enumerate(manifest.entries):
            owner = owners.setdefault(files.paths(entry)[0], entry)
            if owner.path != entry.path:
                raise ManifestError(
                    f"{owner.path} and {entry.path} would have the same semantics file; rename one of them"
                )
            if owner is entry:
                jobs.append((manifest, index))
    return jobs


def find_work(jobs: Sequence[Job], semantics: Semantics, workers: int, force: bool, progress: Progress) -> list[Job]:
    """The pictures whose files are missing, damaged or, with `force`, made otherwise.

    Raises:
        ManifestError: without `force`, files are there that something else made.
    """

    def is_to_do(job: Job) -> bool:
        manifest, index = job
        entry = manifest.entries[index]
        if not semantics.files.is_written(entry):
            return True
        try:
            if not _made_alike(entry, semantics, force):
                return True
            semantics.files.read(entry, picture_size(manifest.path(index)))
        except _MadeOtherwise:
            raise
        except ManifestError as error:
            _log.info("again: %s", error)
            return True
        return False

    left = []
    with contextlib.closing(in_order(is_to_do, jobs, workers)) as answers:
        for done, (job, to_do) in enumerate(zip(jobs, answers, strict=True), start=1):
            if to_do:
                left.append(job)
            progress(done, len(jobs))
    return left


def precompute(
    jobs: Sequence[Job], segmenters: Sequence[PictureSegmenter], semantics: Semantics, progress: Progress
) -> Precomputed:
    """Segment each picture and write its files; as many at once as there are segmenters.

    A picture that is missing or broken is counted and the rest goes on.

    Raises:
        OutputError: files cannot be written.
    """
    idle: SimpleQueue[PictureSegmenter] = SimpleQueue()
    for segmenter in segmenters:
        idle.put(segmenter)

    def work(job: Job) -> str | None:
        manifest, index = job
        segmenter = idle.get()
        try:
            encoded = segmenter.encode(manifest[index], semantics.base)
            semantics.files.write(manifest.entries[index], encoded, semantics.base)
        except OutputError:
            raise
        except (UserError, ValueError) as error:
            return str(error)
        finally:
            idle.put(segmenter)
        return None

    report = Precomputed()
    with contextlib.closing(in_order(work, jobs, len(segmenters))) as outcomes:
        for done, ((manifest, index), failure) in enumerate(zip(jobs, outcomes, strict=True), start=1):
            if failure is None:
                report.written += 1
            else:
                report.failures.append((manifest.path(index), failure))
            progress(done, len(jobs))
    return report


@contextlib.contextmanager
def sole_writer(files: SemanticFiles) -> Iterator[None]:
    """Keep a second run out of the same folder, and clear away what a killed one left in the making.

    Raises:
        OutputError: another run writes there, or nobody can.
    """
    with contextlib.ExitStack() as stack:
        for folder in files.written_folders():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                handle = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, handle)
                # The lock is on the folder itself and goes with the process, however that ends.
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(f"another precompute writes into {folder}; wait for it") from None
            except OSError as error:
                raise OutputError(f"cannot write into {folder}: {error.strerror}") from error
            for leftover in folder.rglob(".scene-streamer-*.part"):
                leftover.unlink(missing_ok=True)
        yield


class _MadeOtherwise(ManifestError):
    """Files are there that another segmenter, at other scales or in another base, has made."""


def _made_alike(entry: Entry, semantics: Semantics, force: bool) -> bool:
    """Whether a picture's label file says that it was made as we would make it."""
    found, wanted = semantics.files.note(entry), semantics.notes
    differing = [key for key in _COMPARED_KEYS if found.get(key) != wanted.get(key)]
    if differing and not force:
        key = differing[0]
        stated = found.get(key, "not stated")
        raise _MadeOtherwise(
            f"{semantics.files.paths(entry)[0]} is there and made otherwise ({key}: {stated}, not {wanted.get(key)}); "
            "choose another --output, or replace such files with --force"
        )
    return not differing
