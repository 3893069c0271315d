"""Pieces of work on several threads, their results in order.

Decoding, convolutions and zlib let go of Python's lock, so threads use every core. Each piece of torch runs on one
thread then: two that share two cores get in each other's way, and one thread adds up in the same order every time.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

from models.cores import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_WORKERS = 8  # each has a network and maps of its own in memory


def default_workers() -> int:
    """As many as this process has cores, eight at most."""
    return max(1, min(_MOST_WORKERS, usable_cores()))


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, stop: Event | None = None
) -> Generator[Result, None, None]:
    """Yield `function(item)` for each item in order, on `workers` threads, a few items ahead of the caller.

    The first error ends it. When it ends early, or the caller closes it (`contextlib.closing`), `stop` is set, what
    waits is dropped and what runs is waited for.
    """
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="worker")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        if stop is not None:
            stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let each operation of torch run on the thread that asks for it, in this whole process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
