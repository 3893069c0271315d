"""Downloads that go on where they were cut, arrive whole or not at all, and are what they were before.

A file is written to `TARGET.part` (`part.py`). What the server says about it (ETag, date) is kept beside, and a later
request asks for the rest under the condition that the file is still the same (`Range` with `If-Range`, RFC 9110); a
server that sends the whole file instead, or another file, makes the download begin anew: bytes are never mixed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.filesize import decimal

from config.errors import UserError
from streamer.address import redact
from tools.zoo.first_seen import record, seen_before
from tools.zoo.part import Origin, PartFile

Progress = Callable[[int, int | None], None]

_log = logging.getLogger(__name__)

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html)\b", re.IGNORECASE)
_BUSY = (408, 425, 429, 500, 502, 503, 504)  # the server may be better in a while
_GONE = (404, 410)


class DownloadError(UserError):
    """A file that cannot be had from its server, or is not what it should be."""


class GoneError(DownloadError):
    """A file that its server no longer has."""


class _Cut(Exception):
    """The transfer ended early; asking again may help."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a download is.

    Attributes:
        connect_s: seconds for a connection to be made.
        read_s: seconds without a byte after which a connection counts as cut.
        waits_s: seconds before each further try; they begin anew whenever something has arrived.
    """

    connect_s: float = 15.0
    read_s: float = 60.0
    waits_s: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file that was downloaded.

    Attributes:
        path: where it is.
        sha256: in hexadecimal.
        size: bytes.
        first_seen: its SHA-256 was compared with nothing: none was on record, now this one is.
        fetched: False if it was there already.
    """

    path: Path
    sha256: str
    size: int
    first_seen: bool = False
    fetched: bool = True


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    progress: Progress | None = None,
    recorded_as: str | None = None,
    accept_change: bool = False,
    limits: Limits | None = None,
) -> Downloaded:
    """Fetch `url` to `target`, or go on with it; a file that is already there with the right SHA-256 stays.

    Args:
        url: http or https.
        target: its folder is made if need be; a file there is replaced once the new one is whole and checked.
        sha256: what the file must have; None: what the first download of it on this machine had.
        progress: called with the bytes so far and the bytes in all (None: unknown).
        recorded_as: the public address, where `url` is a mirror of it.
        accept_change: a file that differs from the first download is no error but the new record.
        limits: how patient to be.

    Raises:
        DownloadError: the server cannot be reached, does not have it, sends something else, or the SHA-256 is wrong.
        OutputError: it cannot be written; says how much space is missing.
        UserError: the records of first downloads are damaged.
    """
    address = redact(recorded_as or url)
    if (there := _standing(target, address, sha256)) is not None:
        return there

    def tell() -> None:
        _log.info("another process downloads %s; waiting for it", target.name)

    with PartFile(target, address, tell) as part:
        if (there := _standing(target, address, sha256)) is not None:
            part.discard()
            return there
        _fetch(url, part, progress or _no_progress, limits or Limits())
        first = _check(part, redact(url), address, sha256, accept_change)
        result = Downloaded(target, part.sha256, part.size, first)
        if sha256 is None:
            # Before the file has its name: who waits for this part knows by the record that the file is the right one.
            record(address, result.sha256, result.size)
        part.commit()
    return result


def _no_progress(done: int, total: int | None) -> None:
    """Nobody looks."""


def _standing(target: Path, address: str, sha256: str | None) -> Downloaded | None:
    """What is at `target` already, if it is known to be the right file."""
    if not target.is_file():
        return None
    if sha256 is None:
        seen = seen_before(address)
        sha256 = seen.sha256 if seen else None
    if sha256 is None:
        return None
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return Downloaded(target, found, target.stat().st_size, fetched=False) if found == sha256 else None


def _check(part: PartFile, shown: str, address: str, sha256: str | None, accept_change: bool) -> bool:
    """Whether this is the first time; a wrong file is not kept."""
    if sha256 is not None:
        if part.sha256 != sha256:
            found = part.sha256
            part.discard()
            raise DownloadError(
                f"{shown} arrived with SHA-256 {found}, but must have {sha256}; it was not kept: try again, or get it "
                "elsewhere"
            )
        return False
    seen = seen_before(address)
    if seen is not None and not accept_change and part.sha256 != seen.sha256:
        found = part.sha256
        part.discard()
        raise DownloadError(
            f"{shown} arrived with SHA-256 {found}, but on {seen.day} it had {seen.sha256}; it was not kept: the file "
            "has changed on the server or on its way; if you trust the new one, give --accept-change"
        )
    return seen is None


# ------------------------------------------------------------------ the transfer


def _fetch(url: str, part: PartFile, progress: Progress, limits: Limits) -> None:
    """Bring `part` to its end, in as many requests as it takes."""
    timeout = httpx.Timeout(limits.read_s, connect=limits.connect_s)
    headers = {"Accept-Encoding": "identity", "User-Agent": "scene-streamer"}
    waits, farthest = list(limits.waits_s), part.size
    if part.size:
        _log.info("%s: %s are there; going on", part.target.name, decimal(part.size))
    with _last_errors(url), httpx.Client(timeout=timeout, headers=headers, follow_redirects=True) as client:
        while not part.complete:
            try:
                if _request(client, url, part, progress):
                    return
            except (httpx.TransportError, _Cut) as error:
                if part.size > farthest:
                    waits, farthest = list(limits.waits_s), part.size
                unreachable = isinstance(error, httpx.ConnectError) and part.size == 0
                if not waits or unreachable or isinstance(error, httpx.UnsupportedProtocol):
                    raise _failure(error, url, part, limits) from error
                wait = waits.pop(0)
                _log.info("%s: %s; trying again in %g s", part.target.name, _reason(error, limits), wait)
                time.sleep(wait)


def _request(client: httpx.Client, url: str, part: PartFile, progress: Progress) -> bool:
    """One request; True when the file is whole, False when it must be asked for from its beginning."""
    condition = part.origin.validator
    wanted = {"Range": f"bytes={part.size}-", "If-Range": condition} if part.stays and condition else {}
    with client.stream("GET", url, headers=wanted) as response:
        if response.status_code == 206 and wanted and _goes_on(response, part):
            part.require_space()
        elif response.status_code in (206, 416) and wanted:
            part.begin(Origin(part.origin.address))
            return False
        else:
            _require_file(response, redact(url))
            part.begin(_origin(response, part.origin.address))
            part.require_space()
        for chunk in response.iter_raw():
            if part.size == 0 and _PAGE.match(chunk):
                part.begin(Origin(part.origin.address))
                raise _page_error(redact(url))
            part.write(chunk)
            progress(part.size, part.origin.total)
    if part.origin.total is not None and part.size < part.origin.total:
        raise _Cut("the connection was cut")
    return True


def _origin(response: httpx.Response, address: str) -> Origin:
    length = response.headers.get("Content-Length", "")
    return Origin(
        address,
        response.headers.get("ETag"),
        response.headers.get("Last-Modified"),
        int(length) if length.isdecimal() else None,
    )


def _goes_on(response: httpx.Response, part: PartFile) -> bool:
    """Whether the answer is the rest of the very file that the part began with."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if found is None or int(found[1]) != part.size:
        return False
    before, now = part.origin, _origin(response, part.origin.address)
    # A server that ignores If-Range still says what it sends.
    return (
        (now.etag is None or now.etag == before.etag)
        and (now.modified is None or now.modified == before.modified)
        and (found[2] == "*" or before.total is None or int(found[2]) == before.total)
    )


def _require_file(response: httpx.Response, shown: str) -> None:
    """Raises unless the answer is a file from its beginning."""
    status = response.status_code
    if status in _GONE:
        raise GoneError(f"{shown} does not exist ({status}): the server no longer has it")
    if status in _BUSY:
        raise _Cut(f"the server answered {status} {response.reason_phrase}".rstrip())
    if status != 200:
        raise DownloadError(f"{shown}: the server answered {status} {response.reason_phrase}".rstrip())
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() in (
        "text/html",
        "application/xhtml+xml",
    ):
        raise _page_error(shown)


# ------------------------------------------------------------------ what to tell


@contextlib.contextmanager
def _last_errors(url: str) -> Iterator[None]:
    """Errors of httpx that no further try would mend, as a DownloadError."""
    shown = redact(url)
    try:
        yield
    except httpx.TooManyRedirects as error:
        raise DownloadError(f"{shown} redirects in a circle; get the file elsewhere") from error
    except httpx.InvalidURL as error:
        raise DownloadError(f"{shown} is no address: {error}") from error
    except httpx.RequestError as error:
        raise DownloadError(f"{shown}: {error}") from error


def _page_error(shown: str) -> DownloadError:
    return DownloadError(
        f"{shown} gave a web page and not the file: a login, a proxy or a moved server; open it in a browser, or get "
        "the file elsewhere"
    )


def _reason(error: Exception, limits: Limits) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection within {limits.connect_s:g} s"
    if isinstance(error, httpx.TimeoutException):
        return f"nothing arrived for {limits.read_s:g} s"
    if isinstance(error, httpx.ConnectError):
        return str(error) or "no connection"
    if isinstance(error, _Cut):
        return str(error)
    return "the connection was cut"


def _failure(error: Exception, url: str, part: PartFile, limits: Limits) -> DownloadError:
    shown, reason = redact(url), _reason(error, limits)
    if isinstance(error, httpx.UnsupportedProtocol):
        return DownloadError(f"{shown} leads to an address that is not http or https; get the file elsewhere")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        text = f"cannot reach {shown}: {reason}; is the network up? A mirror can be given with --mirror"
    else:
        text = f"cannot download {shown}: {reason}, in every try"
    if not part.stays:
        return DownloadError(text)
    total = "" if part.origin.total is None else f" of {decimal(part.origin.total)}"
    return DownloadError(f"{text}; {decimal(part.size)}{total} have arrived and stay: the same command goes on")
