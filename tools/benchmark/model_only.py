"""The model-only bound: the networks alone, on pictures made ready in memory, as fast as they can."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle

from models.recognizer import Recognizer
from streamer.frame import Picture
from tools.benchmark.figures import Spread, spread
from tools.benchmark.stages import prepare, run_networks

_SECONDS = 2.0
_LEAST = 5  # pictures a lane, for networks that take longer than that


@dataclass(frozen=True, slots=True)
class ModelOnly:
    """How many pictures a second the networks take, and in how many lanes side by side."""

    fps: Spread
    lanes: int


def measure_model_only(lanes: Sequence[Recognizer], pictures: Sequence[Picture], repeats: int) -> ModelOnly:
    """The rate of the networks.

    Args:
        lanes: recognizers that work side by side, each in a thread of its own, as a run would use them.
        pictures: at least one.
        repeats: how often to measure, after once to warm up.
    """
    rates = [_rate(lanes, pictures) for _ in range(1 + repeats)]
    return ModelOnly(spread(rates[1:]), len(lanes))


def _rate(lanes: Sequence[Recognizer], pictures: Sequence[Picture]) -> float:
    ready = [[prepare(lane, picture) for picture in pictures] for lane in lanes]

    def work(lane: int) -> int:
        done = 0
        for picture in cycle(ready[lane]):
            if done >= _LEAST and time.perf_counter() >= end_s:
                break
            run_networks(lanes[lane], picture)
            done += 1
        return done

    began_s = time.perf_counter()
    end_s = began_s + _SECONDS
    with ThreadPoolExecutor(len(lanes)) as pool:
        done = sum(pool.map(work, range(len(lanes))))
    return done / (time.perf_counter() - began_s)
