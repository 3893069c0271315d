"""Binding the sockets of the bus: which addresses are allowed, and what is said when one cannot be had.

Until there is encryption, only this machine may listen: loopback addresses, `ipc://` and `inproc://`.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from pathlib import Path

import zmq

from streamer.errors import AddressInUse, AddressRefused

LABELS_SNDHWM = 10_000
LINGER_MS = 1_000
"""How long labels on their way may take after the end."""
MAX_INBOUND_BYTES = 64 * 1024
HEARTBEAT_IVL_MS = 2_000
HEARTBEAT_TIMEOUT_MS = 6_000


def labels_socket(context: zmq.Context[zmq.Socket[bytes]], address: str, *, lossless: bool) -> zmq.Socket[bytes]:
    """The bound socket of labels, events and heartbeats.

    Args:
        context: makes the socket.
        address: where to bind; a port of `*` or 0 takes a free one.
        lossless: a message that a peer has no room for is refused (EAGAIN) rather than dropped for that peer.

    Raises:
        AddressInUse: another program has it.
        AddressRefused: it is no address, or not one of this machine alone.
    """
    options: dict[int, int] = {
        zmq.SNDHWM: LABELS_SNDHWM,
        zmq.LINGER: LINGER_MS,
        zmq.XPUB_VERBOSE: 1,
        zmq.XPUB_NODROP: int(lossless),
    }
    return _bound(context, address, options, "--labels")


def frames_socket(context: zmq.Context[zmq.Socket[bytes]], address: str) -> zmq.Socket[bytes]:
    """The bound socket of annotated frames; arguments and errors as for `labels_socket`."""
    return _bound(context, address, {zmq.SNDHWM: 4, zmq.SNDBUF: 256_000, zmq.LINGER: 0}, "--frames")


def _bound(
    context: zmq.Context[zmq.Socket[bytes]], address: str, options: dict[int, int], flag: str
) -> zmq.Socket[bytes]:
    endpoint = allowed(address, flag)
    made = context.socket(zmq.XPUB)
    try:
        for option, value in (_INBOUND | options).items():
            made.setsockopt(option, value)
        made.setsockopt(zmq.IPV6, int("[" in endpoint))
        made.bind(endpoint)
    except zmq.ZMQError as error:
        made.close(linger=0)
        if error.errno == errno.EADDRINUSE:
            raise _in_use(address, flag) from error
        raise AddressRefused(f"{flag} {address}: cannot be bound: {error.strerror}") from error
    return made


_INBOUND = {
    zmq.MAXMSGSIZE: MAX_INBOUND_BYTES,
    zmq.HEARTBEAT_IVL: HEARTBEAT_IVL_MS,
    zmq.HEARTBEAT_TIMEOUT: HEARTBEAT_TIMEOUT_MS,
}
"""Against peers that send too much or are half gone."""


def allowed(address: str, flag: str = "--labels") -> str:
    """`address` as ZeroMQ takes it, if it may be bound.

    Raises:
        AddressInUse: an `ipc://` path on which a program listens.
        AddressRefused: no address, or one that other machines could reach.
    """
    scheme, separator, rest = address.partition("://")
    if separator and rest and scheme == "inproc":
        return address
    if separator and rest and scheme == "ipc":
        _check_path(rest, address, flag)
        return address
    if scheme == "tcp" and ":" in rest:
        host, _, port = rest.rpartition(":")
        return f"tcp://{_loopback(host, address, flag)}:{_port(port, address, flag)}"
    raise AddressRefused(f"{flag} {address}: an address looks like tcp://127.0.0.1:5555 or ipc:///path")


def _loopback(host: str, address: str, flag: str) -> str:
    """`host` in numbers, as ZeroMQ does not look up names when it binds."""
    if host == "localhost":
        return "127.0.0.1"
    try:
        is_local = ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise AddressRefused(
            f"{flag} {address}: only this machine may listen (tcp://127.0.0.1:PORT or ipc:///path), "
            "as the bus is not encrypted"
        )
    return host if ":" not in host or host.startswith("[") else f"[{host}]"


def _port(port: str, address: str, flag: str) -> str:
    if port == "*" or (port.isascii() and port.isdigit() and int(port) < 65536):
        return port
    raise AddressRefused(f"{flag} {address}: {port!r} is no port; 0..65535, or * for a free one")


def _check_path(path: str, address: str, flag: str) -> None:
    """ZeroMQ removes whatever is at the path of an `ipc://` address, so look first."""
    if path == "*" or path.startswith("@"):
        return
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if Path(path).parent.is_dir():
            return
        raise AddressRefused(f"{flag} {address}: the folder {Path(path).parent} does not exist") from None
    except OSError as error:
        raise AddressRefused(f"{flag} {address}: {os.strerror(error.errno or 0)}") from error
    if not stat.S_ISSOCK(mode):
        raise AddressRefused(f"{flag} {address}: there is a file that is no socket")
    if _answers(path):
        raise _in_use(address, flag)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def _in_use(address: str, flag: str) -> AddressInUse:
    other = "ipc:///another/path" if address.startswith("ipc:") else "tcp://127.0.0.1:PORT"
    return AddressInUse(f"{address} is in use by another program; choose another address: {flag} {other}")
