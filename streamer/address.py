"""Addresses of sources: what kind a URI is, what to call the source, and what of it may be shown to others.

clip.mp4, file:///clips/clip.mp4    a recording                        plug-in pyav
rtsp://, rtsps://                   a live network stream              pyav
http://, https://                   a recording or a live stream       pyav
shots/, shots/*.jpg, shot.png       pictures                           images
0, /dev/video0                      a camera                           opencv
synthetic:?frames=100               the moving test pattern            synthetic
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, unquote_plus, urlsplit

from config.folders import expanded
from config.schema import CaptureSettings
from streamer.errors import SourceError
from streamer.frame import SOURCE_NAME
from streamer.sources import SOURCES
from streamer.sources._listing import find_pictures, is_glob, is_picture
from streamer.sources.base import Source

NETWORK_SCHEMES = frozenset({"http", "https", "rtsp", "rtsps"})
_KNOWN = "a file, a folder or glob of pictures, rtsp://, http(s)://, a camera number, /dev/videoN, synthetic:"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CAMERA = re.compile(r"/dev/video(\d{1,4})")
_CAMERA_NUMBER = re.compile(r"[0-9]{1,4}")
_SECRET_KEY = re.compile(
    r"(?i)pass|pwd|secret|token|key|auth|cred|sig|session|user|usr|login|account|^(pw|id|code|hash)$"
)
# `key=value` wherever it stands: some cameras want user and password in the path.
_ASSIGNMENT = re.compile(r"([^/?&;=#]*)=([^&;#/]*)")
_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """A URI, understood.

    Attributes:
        kind: the source plug-in that reads it.
        uri: what the plug-in opens; may hold credentials, so it never goes to a log or a message.
        redacted: the same without credentials.
        name: default name of the source, from the address; matches `SOURCE_NAME`.
        live: frames get lost if nobody takes them. A guess for http(s): only opening the stream tells.
        params: parameters of the plug-in that the address itself gives.
    """

    kind: str
    uri: str
    redacted: str
    name: str
    live: bool
    params: Mapping[str, Any] = field(default_factory=dict)


def open_source(uri: str, name: str | None, capture: CaptureSettings) -> Source:
    """The source for `uri`, ready for its `open()`.

    Args:
        uri: see the module.
        name: name on the bus; None takes the address's own.
        capture: time limits and transport of network streams.

    Raises:
        SourceError: nothing is there, or nothing that can be read; says what to do.
        ConfigError: a parameter that the kind of source does not have.
    """
    address = parse(uri)
    params = dict(address.params)
    if address.kind == "pyav":
        params |= capture.model_dump(
            include={"open_timeout_s", "read_timeout_s", "rtsp_transport", "hardware_decoding"}
        )
    elif address.kind == "opencv":
        params |= capture.model_dump(include={"read_timeout_s"})
    chosen = address.name if name is None else check_name(name)
    plugin = SOURCES.load(address.kind)
    source: Source = plugin.build(SOURCES.params(address.kind, params), uri=address.uri, name=chosen)
    return source


def parse(uri: str) -> SourceAddress:
    """Understand `uri`. Looks at local files, opens nothing.

    Raises:
        SourceError: an unknown kind of address, a missing file, or no pictures where pictures should be.
    """
    if not uri.strip() or "\0" in uri:
        raise SourceError(f"a source needs an address: {_KNOWN}")
    if _CAMERA_NUMBER.fullmatch(uri):
        return _camera(int(uri))
    if uri.startswith("synthetic:"):
        return _synthetic(uri)
    scheme = _SCHEME.match(uri)
    if scheme is None:
        return _local(uri.removeprefix("file:") if uri.startswith("file:/") else uri)
    kind = scheme[1].lower()
    if kind in NETWORK_SCHEMES:
        return _network(uri, kind)
    if kind == "file":
        return _local(_file_path(uri))
    raise SourceError(f"unknown kind of source {kind}://; known: {_KNOWN}")


def check_name(name: str) -> str:
    """`name` itself, if it can name a source on the bus.

    Raises:
        SourceError: it cannot; says which characters may stand in a name.
    """
    if SOURCE_NAME.fullmatch(name) is None:
        raise SourceError(f"source name {name!r}: use 1 to 64 of the characters A-Z a-z 0-9 _ . -")
    return name


def clean_name(text: str) -> str:
    """A source name out of any text: accents dropped, other foreign characters replaced by `_`, at most 64 long."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", plain).lstrip(".")[:64]
    return name if re.search(r"[A-Za-z0-9]", name) else "source"


def redact(uri: str) -> str:
    """`uri` without user, password and whatever looks like a secret; fit for a log, a message or a file name.

    Rather too much is hidden than too little. Addresses that are not of the network stay as they are.
    """
    scheme = _SCHEME.match(uri)
    if scheme is None or scheme[1].lower() == "file":
        return uri
    rest = uri[scheme.end() :]
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in host:
        rest = rest[host.rindex("@") + 1 :]
    elif ":" in host and "@" in rest:  # a password with an unescaped slash or question mark
        rest = rest[rest.rindex("@") + 1 :]
    return scheme[0] + _ASSIGNMENT.sub(_hide_secret, rest)


def _hide_secret(match: re.Match[str]) -> str:
    secret = _SECRET_KEY.search(unquote_plus(match[1])) is not None
    return f"{match[1]}={_HIDDEN}" if secret else match[0]


def _camera(number: int) -> SourceAddress:
    device = f"/dev/video{number}"
    return SourceAddress("opencv", device, device, f"camera{number}", live=True)


def _synthetic(uri: str) -> SourceAddress:
    query = uri.removeprefix("synthetic:").removeprefix("?")
    try:
        params = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError:
        raise SourceError(f"{uri}: parameters look like synthetic:?width=640&height=360") from None
    live = params.get("realtime", "").lower() in {"1", "true", "yes", "on"}
    return SourceAddress("synthetic", uri, uri, "synthetic", live=live, params=params)


def _network(uri: str, scheme: str) -> SourceAddress:
    host = _host(uri, scheme)
    return SourceAddress("pyav", uri, redact(uri), clean_name(host), live=scheme.startswith("rtsp"))


def _host(uri: str, scheme: str) -> str:
    hint = "write it like {0}://user:password@host:port/path, special characters in user and password as %XX"
    try:
        parts: SplitResult = urlsplit(uri)
        _ = parts.port  # raises where the port is no number
        host = parts.hostname
    except ValueError:
        host = None
    if not host or any(c.isspace() or not c.isprintable() for c in uri):
        raise SourceError(f"a {scheme}:// address without a proper host; {hint.format(scheme)}")
    return host


def _file_path(uri: str) -> str:
    parts = uri[len("file://") :]
    if not parts.startswith("/"):
        raise SourceError(f"{uri}: a file address has three slashes, file:///folder/clip.mp4")
    return unquote(parts)


def _local(text: str) -> SourceAddress:
    path = expanded(text)
    status = _status(path, text)
    if status is None:
        return _glob(text)
    resolved = path.resolve()
    if camera := _CAMERA.fullmatch(str(resolved)):
        return _camera(int(camera[1]))
    if stat.S_ISDIR(status.st_mode):
        return _pictures(text, clean_name(resolved.name))
    if status.st_size == 0 and stat.S_ISREG(status.st_mode):
        raise SourceError(f"{text} is empty")
    if not os.access(path, os.R_OK):
        raise SourceError(f"{text} cannot be read: permission denied")
    kind = "images" if is_picture(path) else "pyav"
    return SourceAddress(kind, str(path), text, clean_name(path.stem), live=False)


def _status(path: Path, text: str) -> os.stat_result | None:
    try:
        return path.stat()
    except PermissionError:
        raise SourceError(f"{text} cannot be read: permission denied") from None
    except (OSError, ValueError):
        return None


def _glob(text: str) -> SourceAddress:
    if camera := _CAMERA.fullmatch(text):
        return _camera(int(camera[1]))  # its source tells how to find one that exists
    if not is_glob(text):
        shown = re.sub(r"^[^/\s]*:[^\s]*@", f"{_HIDDEN}@", text)  # a network address without its scheme
        raise SourceError(f"{shown!r} does not exist; a source is {_KNOWN}")
    folder = re.split(r"[*?[]", text, maxsplit=1)[0].rpartition("/")[0]
    return _pictures(text, clean_name(Path(folder or ".").resolve().name))


def _pictures(text: str, name: str) -> SourceAddress:
    try:
        count = len(find_pictures(text))
    except PermissionError:
        raise SourceError(f"{text} cannot be read: permission denied") from None
    if count == 0:
        what = "matches" if is_glob(text) and not Path(text).is_dir() else "holds"
        raise SourceError(f"{text!r} {what} no pictures (jpg, png, bmp, tif, webp...); give videos one by one")
    return SourceAddress("images", str(expanded(text)), text, name, live=False)
