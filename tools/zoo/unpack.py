"""Archives of data sets: checked before anything is written, unpacked beside, moved into place when whole.

Archives are not trusted: a member that would land outside, a link, a device or more bytes than the disk has refuse the
whole archive. An interrupted unpacking goes on where it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from rich.filesize import decimal

from config.errors import UserError
from streamer.errors import OutputError
from streamer.files import output_errors

Progress = Callable[[int, int | None], None]

_WHOLE = ".whole"  # in the folder beside: everything is unpacked, only the moves remain
_UNPACKED = "files"
_RUBBISH = ("__MACOSX", ".DS_Store")
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class ArchiveError(UserError):
    """An archive that is damaged, dangerous, or not of the data set it should be of."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What became of an archive: files put into place, and files that were there already and stay."""

    placed: int
    kept: int


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in an archive; `open` reads it, and only until the next one is asked for."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What unpacking will do: leave out `prefix`, write `size` bytes in `count` files."""

    prefix: tuple[str, ...]
    count: int
    size: int


def unpack(
    archive: Path,
    root: Path,
    landmarks: Collection[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Unpacked:
    """Unpack a zip or tar archive into `root`.

    Args:
        archive: compressed or not.
        root: made if need be.
        landmarks: names of files and folders that belong directly under `root`. Folders that the archive has above them
            ("ADEChallengeData2016/") are left out.
        overwrite: replace files that are there; else they stay.
        progress: called with the bytes so far and in all.

    Raises:
        ArchiveError: damaged, dangerous, or without any landmark.
        OutputError: it cannot be written, or the disk has less free space than it takes.
    """
    beside = _beside(archive, root)
    files = beside / _UNPACKED
    if not (beside / _WHOLE).exists():
        plan = _plan(archive, landmarks)
        with output_errors(root):
            files.mkdir(parents=True, exist_ok=True)
        _require_space(root, plan, files)
        _extract(archive, plan, files, progress)
        with output_errors(root):
            (beside / _WHOLE).touch()
    with output_errors(root):
        unpacked = _move(files, root, overwrite)
        shutil.rmtree(beside)
    return unpacked


def _beside(archive: Path, root: Path) -> Path:
    """Where it is unpacked at first; what was left there of a former archive of that name is removed."""
    try:
        status = archive.stat()
    except OSError as error:
        raise ArchiveError(f"{archive} cannot be read: {error.strerror}") from error
    start = f".scene-streamer-{archive.name[:80]}-"
    beside = root / f"{start}{status.st_size:x}-{status.st_mtime_ns:x}.unpacking"
    for other in root.glob("*.unpacking"):
        if other.name.startswith(start) and other != beside:
            shutil.rmtree(other, ignore_errors=True)
    return beside


# ------------------------------------------------------------------ what is in it


def _plan(archive: Path, landmarks: Collection[str]) -> _Plan:
    count, size, prefix, tops = 0, 0, None, dict[str, None]()
    for member in _members(archive):
        count, size = count + 1, size + member.size
        tops[member.path.parts[0]] = None
        above = _above_landmark(member.path.parts, landmarks)
        if above is not None and (prefix is None or len(above) < len(prefix)):
            prefix = above
    if prefix is None:
        has = ", ".join(list(tops)[:5]) or "nothing"
        raise ArchiveError(
            f"{archive} is not what was expected: it has {has}, but should have {', '.join(sorted(landmarks))}; unpack "
            "it by hand"
        )
    return _Plan(prefix, count, size)


def _above_landmark(parts: Sequence[str], landmarks: Collection[str]) -> tuple[str, ...] | None:
    place = next((index for index, part in enumerate(parts) if part in landmarks), None)
    return None if place is None else tuple(parts[:place])


def _members(archive: Path) -> Iterator[_Member]:
    """The files of an archive, in its order, each checked; folders are left out, they come with their files."""
    try:
        # In this order: a tar that ends with a zip would pass for a zip, which is known by its end.
        if tarfile.is_tarfile(archive):
            yield from _tar_members(archive)
        elif zipfile.is_zipfile(archive):
            yield from _zip_members(archive)
        else:
            raise ArchiveError(f"{archive} is no zip or tar archive")
    except (*_DAMAGE, OSError) as error:
        raise ArchiveError(f"{archive} is damaged ({error}); delete it and pull again") from error


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            mode = info.external_attr >> 16
            if info.is_dir() or _is_rubbish(info.filename):
                continue
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise _dangerous(archive, info.filename, "a link or device")
            if info.flag_bits & 1:
                raise ArchiveError(f"{archive} is encrypted; unpack it by hand")
            path = _safe_path(archive, info.filename)
            yield _Member(path, info.file_size, lambda info=info: file.open(info))  # type: ignore[misc]


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as file:
        while (info := file.next()) is not None:
            # tarfile remembers every member; with two millions of them that is memory for nothing.
            file.members.clear()  # type: ignore[attr-defined]
            if info.isdir() or _is_rubbish(info.name):
                continue
            if not info.isreg():
                raise _dangerous(archive, info.name, "a link or device")
            path = _safe_path(archive, info.name)
            yield _Member(path, info.size, lambda info=info: _required(file.extractfile(info)))  # type: ignore[misc]
        _require_tar_end(file)


def _require_tar_end(file: tarfile.TarFile) -> None:
    """tarfile takes whatever is no header for the end; only a block of zeros is."""
    stream = file.fileobj
    assert stream is not None
    stream.seek(file.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends early")


def _required(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # it is None for what is no regular file
    return stream


def _safe_path(archive: Path, name: str) -> PurePosixPath:
    """The path of a member; refuses what would land outside of the folder it is unpacked into, on any system."""
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.anchor or "\\" in name or "\0" in name:
        raise _dangerous(archive, name, "an absolute path")
    if ".." in path.parts or not path.parts:
        raise _dangerous(archive, name, "a path that leads out of its folder")
    return path


def _dangerous(archive: Path, name: str, what: str) -> ArchiveError:
    return ArchiveError(f"{archive} was not unpacked: {name!r} in it is {what}, which no data set needs; do not use it")


def _is_rubbish(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not parts or parts[0] in _RUBBISH or parts[-1] in _RUBBISH or parts[-1].startswith("._")


# ------------------------------------------------------------------ onto the disk


def _require_space(root: Path, plan: _Plan, files: Path) -> None:
    there = sum(path.stat().st_size for path in files.rglob("*") if path.is_file())
    needed, free = plan.size - there, shutil.disk_usage(root).free
    if needed > free:
        raise OutputError(
            f"the disk of {root} is too small: unpacking takes {decimal(needed)} more, {decimal(free)} are free; free "
            "some space or choose another --root, and run the same command again"
        )


def _extract(archive: Path, plan: _Plan, files: Path, progress: Progress | None) -> None:
    done = 0
    for member in _members(archive):
        parts = member.path.parts
        inside = parts[: len(plan.prefix)] == plan.prefix
        target = files.joinpath(*(parts[len(plan.prefix) :] if inside else parts))
        _extract_one(archive, member, target)
        done += member.size
        if progress is not None:
            progress(done, plan.size)


def _extract_one(archive: Path, member: _Member, target: Path) -> None:
    # A file has its name only when it is whole, so what an earlier try left needs no other check than its size.
    with output_errors(target):
        if target.is_file() and target.stat().st_size == member.size:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(".part")
        try:
            with part.open("wb") as out:
                for data in _chunks(archive, member):
                    out.write(data)
            part.replace(target)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def _chunks(archive: Path, member: _Member) -> Iterator[bytes]:
    left = member.size
    try:
        with member.open() as stream:
            while data := stream.read(1 << 20):
                left -= len(data)
                if left < 0:
                    break
                yield data
    except (*_DAMAGE, OSError) as error:
        raise ArchiveError(f"{archive} is damaged at {member.path} ({error}); delete it and pull again") from error
    if left != 0:
        raise ArchiveError(f"{archive} is damaged at {member.path}: not of its stated size; delete it and pull again")


def _move(files: Path, root: Path, overwrite: bool) -> Unpacked:
    """Move a tree into another one; folders that are not there yet are moved whole."""
    placed = kept = 0
    for child in sorted(files.iterdir()):
        target = root / child.name
        if not target.exists():
            placed += _count(child)
            _rename(child, target)
        elif child.is_dir() and target.is_dir():
            inner = _move(child, target, overwrite)
            placed, kept = placed + inner.placed, kept + inner.kept
        elif overwrite and child.is_file() and target.is_file():
            _rename(child, target)
            placed += 1
        else:
            kept += _count(child)
    return Unpacked(placed, kept)


def _rename(path: Path, target: Path) -> None:
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(path, target)  # a folder of the data set is a link to another disk


def _count(path: Path) -> int:
    return 1 if path.is_file() else sum(len(names) for _, _, names in os.walk(path))
