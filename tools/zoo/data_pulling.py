"""Public data sets: fetched, unpacked into their layout, their lists completed."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from streamer.files import output_errors
from tools.data.layouts import Layout, find_layout
from tools.zoo.addresses import Entry, find_dataset
from tools.zoo.data_check import SEMANTIC_FOLDERS, check_dataset
from tools.zoo.download import GoneError
from tools.zoo.first_seen import seen_before
from tools.zoo.lists import complete_lists
from tools.zoo.locking import alone
from tools.zoo.pulling import Pulling
from tools.zoo.unpack import unpack

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PulledData:
    """What became of a data set.

    Attributes:
        placed: files put into place.
        kept: files of the archives that were there already and stay.
        lists: lists that the archives lacked and that were made.
        there: what was there already, whole: "pictures", "semantics".
    """

    placed: int
    kept: int
    lists: tuple[Path, ...]
    there: tuple[str, ...]


def pull_dataset(name: str, root: Path, how: Pulling | None = None, *, semantics: bool = False) -> PulledData:
    """Fetch a public data set into `root`, with its precomputed semantics if asked; what is there already stays.

    Raises:
        UnknownPluginError: no such data set; lists them.
        DownloadError: an archive cannot be had, or is not what it was.
        ArchiveError: an archive is damaged, dangerous, or not of the data set.
        OutputError: it cannot be written.
    """
    how = how or Pulling()
    find_dataset(name)
    layout = find_layout(name)

    def tell() -> None:
        _log.info("another process pulls into %s; waiting for it", root)

    with alone(root / ".scene-streamer.lock", tell):
        pulled = [_pull(layout, root, how, "pictures")]
        if semantics:
            pulled.append(_pull(layout, root, how, "semantics"))
    return PulledData(
        sum(part.placed for part in pulled),
        sum(part.kept for part in pulled),
        tuple(path for part in pulled for path in part.lists),
        tuple(what for part in pulled for what in part.there),
    )


def _pull(layout: Layout, root: Path, how: Pulling, what: str) -> PulledData:
    entry = find_dataset(layout.name, "semantics" if what == "semantics" else "dataset")
    if not how.force and _is_whole(layout, root, entry, what):
        return PulledData(0, 0, (), (what,))
    placed = kept = 0
    for file in entry.files:
        archive = root / file.name
        if _is_theirs(archive, file.address, file.sha256) and not how.force:
            _log.info("%s is there; unpacking it", archive)
        else:
            try:
                how.fetch(file, archive)
            except GoneError as error:
                raise GoneError(f"{error}; get it elsewhere, put it at {archive}, and run this again") from error
        with how.show(f"unpacking {file.name}") if how.show else nullcontext() as progress:
            unpacked = unpack(archive, root, _landmarks(layout), overwrite=how.force, progress=progress)
        placed, kept = placed + unpacked.placed, kept + unpacked.kept
        if not how.keep:
            with output_errors(archive):
                archive.unlink()
    return PulledData(placed, kept, tuple(complete_lists(layout, root)), ())


def _is_whole(layout: Layout, root: Path, entry: Entry, what: str) -> bool:
    splits = entry.splits if what == "semantics" else ("train", "val")
    reports = check_dataset(layout.name, root, splits=splits, semantics=splits if what == "semantics" else ())
    return all(report.good for report in reports)


def _is_theirs(archive: Path, address: str, sha256: str | None) -> bool:
    """Whether the user has put the archive there: nothing is known to compare it with."""
    return archive.is_file() and sha256 is None and seen_before(address) is None


def _landmarks(layout: Layout) -> set[str]:
    folders = {Path(folder).parts[0] for folder in layout.folders.values()}
    return {*folders, *layout.lists.values(), layout.names_file, *SEMANTIC_FOLDERS}
