"""Public models: fetched, converted to safetensors, and put among the user's models."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from rich.filesize import decimal

from config.errors import UserError
from config.folders import cache_folder
from models.errors import ModelError
from models.package import ModelPackage, find_package, user_models
from tools.zoo.addresses import Entry, RemoteFile, chosen_mirror, find_model
from tools.zoo.download import Downloaded, DownloadError, GoneError, Limits, Progress, download
from tools.zoo.first_seen import forget
from tools.zoo.locking import alone

# Given a file's name: where its bytes are shown while they arrive.
ShowProgress = Callable[[str], AbstractContextManager[Progress]]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pulling:
    """How to pull.

    Attributes:
        mirror: address of a server that has the public paths; None: `$SCENE_STREAMER_MIRROR`, else the public servers.
        force: also what is there already.
        keep: the files as they were downloaded stay.
        accept_change: a file that differs from the first download on this machine is taken.
        show: see `ShowProgress`; None shows nothing.
        limits: how patient to be.
    """

    mirror: str | None = None
    force: bool = False
    keep: bool = False
    accept_change: bool = False
    show: ShowProgress | None = None
    limits: Limits = field(default_factory=Limits)

    def fetch(self, file: RemoteFile, target: Path) -> Downloaded:
        """Download a file to `target`, or go on with it; tells what it does.

        Raises:
            DownloadError, OutputError, ConfigError: see `download` and `RemoteFile.at`.
        """
        url = file.at(chosen_mirror(self.mirror))
        if self.show is None:
            done = self._download(url, file, target, None)
        else:
            with self.show(file.name) as progress:
                done = self._download(url, file, target, progress)
        if done.first_seen:
            _log.info("%s: no SHA-256 is on record; %s, seen now, is the one to compare with", file.name, done.sha256)
        elif done.fetched:
            _log.info("%s: %s, SHA-256 as it should be", file.name, decimal(done.size))
        return done

    def _download(self, url: str, file: RemoteFile, target: Path, progress: Progress | None) -> Downloaded:
        return download(
            url,
            target,
            sha256=file.sha256,
            progress=progress,
            recorded_as=file.address,
            accept_change=self.accept_change,
            limits=self.limits,
        )


@dataclass(frozen=True, slots=True)
class PulledModel:
    """A model that is there; `fetched` is False if it was there before."""

    package: ModelPackage
    fetched: bool


def downloads_folder() -> Path:
    """Where downloads of models are made; it need not exist yet."""
    return cache_folder() / "downloads"


def pull_model(name: str, how: Pulling | None = None) -> PulledModel:
    """Fetch a public model by its name and import it; one that is there already is checked.

    Raises:
        UnknownPluginError: no such public model; lists them.
        DownloadError: it cannot be had, or is not what it was.
        ModelError: what is there is damaged, or what was downloaded is no such model.
        OutputError: it cannot be written.
    """
    how = how or Pulling()
    entry = find_model(name)

    def tell() -> None:
        _log.info("another process pulls %s; waiting for it", name)

    with alone(downloads_folder() / f"{name}.lock", tell):
        if name in user_models() and not how.force:
            return PulledModel(_checked(name), fetched=False)
        return PulledModel(_pull(name, entry, how), fetched=True)


def _checked(name: str) -> ModelPackage:
    from tools.zoo.verifying import verify_model

    try:
        verify_model(name)
    except UserError as error:
        raise ModelError(f"{error}; to get it anew: scene-streamer models pull {name} --force") from error
    return find_package(name)


def _pull(name: str, entry: Entry, how: Pulling) -> ModelPackage:
    folder = downloads_folder() / name
    try:
        fetched = [how.fetch(file, folder / file.name) for file in entry.files]
    except GoneError as error:
        names = " ".join(file.name for file in entry.files)
        raise GoneError(f"{error}; get it elsewhere, then: scene-streamer models import {names} --as {name}") from error
    try:
        package = _imported(name, entry, fetched)
    except DownloadError:  # but after a full disk, say, the files are there for the next try
        _drop(folder, how)
        raise
    _drop(folder, how)
    return package


def _imported(name: str, entry: Entry, fetched: list[Downloaded]) -> ModelPackage:
    from tools.zoo.importing import import_model

    try:
        return import_model([done.path for done in fetched], name, overwrite=True)
    except ModelError as error:
        # What cannot be used must not become what later downloads are compared with.
        for file, done in zip(entry.files, fetched, strict=True):
            if done.first_seen:
                forget(file.address)
        raise DownloadError(f"what was downloaded as {name} cannot be used: {error}") from error


def _drop(folder: Path, how: Pulling) -> None:
    if how.keep:
        _log.info("the downloaded files stay in %s", folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
