"""A web server on the loopback that answers as a test tells it to: well, or with every fault that a real one has."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Served:
    """A file as the server has it.

    Attributes:
        data: its bytes.
        etag: None: it says none.
        ranges: whether parts can be asked for.
        cut_after: bytes of an answer's body after which the connection breaks; None: never.
        length: whether the size is said; if not, the end of the connection is the end of the file.
        headers: further ones.
    """

    data: bytes
    etag: str | None = '"one"'
    ranges: bool = True
    cut_after: int | None = None
    length: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        start = self._start(handler)
        body = self.data[start or 0 :]
        handler.send_response(200 if start is None else 206)
        for name, value in (({"ETag": self.etag} if self.etag else {}) | dict(self.headers)).items():
            handler.send_header(name, value)
        if start is not None:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body if self.cut_after is None else body[: self.cut_after])

    def _start(self, handler: BaseHTTPRequestHandler) -> int | None:
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if wanted is None or not self.ranges or int(wanted[1]) >= len(self.data):
            return None
        condition = handler.headers.get("If-Range")
        return int(wanted[1]) if condition in (None, self.etag, self.headers.get("Last-Modified")) else None


def status(code: int, body: bytes = b"") -> Answer:
    """An answer that is only a status."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def redirect(to: str) -> Answer:
    """An answer that sends the client elsewhere."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


class WebServer:
    """A context manager. `answers` has, by path, the answers to successive requests; the last one stays.

    Attributes:
        url: its address, without a slash at the end.
        requests: (path, headers) of every request so far.
        posted: the bodies of those that were a POST.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.posted: list[bytes] = []
        self.stopping = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests.append((self.path, dict(self.headers)))
                queue = owner.answers.get(self.path, [status(404)])
                try:
                    (queue.pop(0) if len(queue) > 1 else queue[0])(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def do_POST(self) -> None:
                owner.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.do_GET()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def serve(self, path: str, *answers: Answer) -> str:
        """Answer requests for `path` so; its address."""
        self.answers[path] = list(answers)
        return self.url + path

    def silent_after(self, data: bytes, total: int) -> Answer:
        """An answer that sends `data` of `total` bytes and then nothing more, the connection open."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(total))
            handler.send_header("ETag", '"one"')
            handler.end_headers()
            handler.wfile.write(data)
            handler.wfile.flush()
            self.stopping.wait(30)

        return answer

    def slowly(self, data: bytes, pause_s: float) -> Answer:
        """An answer that waits a while in its middle."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data[: len(data) // 2])
            handler.wfile.flush()
            time.sleep(pause_s)
            handler.wfile.write(data[len(data) // 2 :])

        return answer

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
