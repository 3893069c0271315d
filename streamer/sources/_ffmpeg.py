"""Opening files and network streams with FFmpeg: time limits, options, and its errors in words.

FFmpeg puts the address, credentials and all, into some of its errors; nothing of that text is passed on. PyAV keeps
FFmpeg's log lines off the terminal by itself.
"""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import av
import av.error
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from streamer.errors import SourceError, TruncatedError
from streamer.sources._truncation import lacks_index

# Formats that FFmpeg reads into "video" although they are plain text.
_TEXT_FORMATS = frozenset({"tty", "bin", "xbin", "adf", "idf"})
# Streams are looked at for this long before they play; FFmpeg's own 5 s exceed the time a network source has to open.
_ANALYSE_US = 1_500_000


def open_file(path: str, hardware: HWAccel | None = None) -> InputContainer:
    """Open a recording, to be decoded by `hardware` if there is any.

    Raises:
        TruncatedError: an MP4 whose index was never written.
        SourceError: no video file.
    """
    try:
        # "file:" keeps a name with a colon from being taken for a protocol.
        container = av.open(f"file:{path}", metadata_errors="replace", hwaccel=hardware)
    except (av.FFmpegError, OSError, ValueError) as error:
        if lacks_index(Path(path)):
            raise TruncatedError(
                f"{path} is not complete: its index (moov) is missing, so no frame can be read; it was cut or its"
                " recording never finished: copy or record it again"
            ) from error
        raise SourceError(f"{path} is no video that can be read ({reason(error)})") from error
    return _refuse_text(container, path)


def open_network(
    uri: str,
    shown: str,
    hardware: HWAccel | None = None,
    *,
    open_timeout_s: float,
    read_timeout_s: float,
    rtsp_transport: Literal["tcp", "udp"],
) -> InputContainer:
    """Open a network stream.

    Args:
        uri: its address, credentials included.
        shown: the same without them, for messages.
        hardware: what decodes; None is the processor.
        open_timeout_s: limit for finding the host, for connecting, and for the first look at the streams, each.
        read_timeout_s: silence after which reading fails.
        rtsp_transport: how RTSP carries its data.

    Raises:
        SourceError: there is nothing, it does not answer in time, or it is no video.
    """
    _resolve(urlsplit(uri).hostname or "", shown, open_timeout_s)
    options = {"analyzeduration": str(_ANALYSE_US)}
    if uri.lower().startswith("rtsp"):
        options["rtsp_transport"] = rtsp_transport
    began_s = time.monotonic()
    try:
        container = av.open(
            uri,
            options=options,
            timeout=(open_timeout_s, read_timeout_s),
            metadata_errors="replace",
            hwaccel=hardware,
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        if time.monotonic() - began_s >= open_timeout_s:  # FFmpeg's RTSP calls its own interruption damaged data
            raise SourceError(f"{shown}: no answer within {open_timeout_s:g} s") from None
        raise SourceError(f"{shown}: {reason(error, open_timeout_s)}") from None
    return _refuse_text(container, shown)


def video_stream(container: InputContainer, shown: str) -> VideoStream:
    """The stream of moving pictures; cover art is none.

    Raises:
        SourceError: there is none, or none that can be decoded.
    """
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        kinds = sorted({s.type for s in container.streams})
        cover = ", apart from a cover picture" if container.streams.video else ""
        raise SourceError(f"{shown} has no video{cover}; it holds {', '.join(kinds) or 'nothing'}")
    best = container.streams.best("video")
    stream: VideoStream = best if best in moving else moving[0]
    # A stream without a decoder has no codec context, whatever PyAV's annotations say.
    if getattr(stream, "codec_context", None) is None:
        raise SourceError(f"{shown}: its video codec is not supported by this build of FFmpeg; convert it to H.264")
    return stream


def reason(error: Exception, timeout_s: float | None = None) -> str:
    """Why FFmpeg failed, in words that never hold the address."""
    if isinstance(error, (av.error.ExitError, av.error.TimeoutError)):
        return "no answer" + (f" within {timeout_s:g} s" if timeout_s is not None else " in time")
    if isinstance(error, av.error.HTTPUnauthorizedError):
        return "it wants a user name and a password (rtsp://user:password@host/...), or refuses those given"
    if isinstance(error, av.error.InvalidDataError):
        return "no video format that FFmpeg knows, or damaged data"
    if isinstance(error, av.error.EOFError):
        return "it ends before any picture"
    if isinstance(error, (av.FFmpegError, OSError)):
        return str(error.strerror or type(error).__name__)
    return type(error).__name__


def _refuse_text(container: InputContainer, shown: str) -> InputContainer:
    if container.format.name in _TEXT_FORMATS:
        container.close()
        raise SourceError(f"{shown} is text, no video")
    return container


def _resolve(host: str, shown: str, timeout_s: float) -> None:
    """Look the host up with a deadline; the look-up inside FFmpeg cannot be interrupted."""
    failures: list[Exception] = []

    def look_up() -> None:
        try:
            socket.getaddrinfo(host, None)
        except (OSError, UnicodeError) as error:
            failures.append(error)

    thread = threading.Thread(target=look_up, name="resolve", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise SourceError(f"{shown}: the host's name was not found within {timeout_s:g} s")
    if failures:
        raise SourceError(f"{shown}: the host {host!r} cannot be found; check the name and the network")
