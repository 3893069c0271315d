"""Turns: work overlaps, results come in order, and nobody waits for one who died."""

from __future__ import annotations

import random
import threading
import time

import pytest

from streamer.errors import ChannelClosed
from streamer.turns import Turns

DEADLINE_S = 5.0


def serve(turns: Turns, numbers, work, out: list[int]) -> None:
    try:
        while True:
            number, turn = turns.take(lambda: next(numbers))
            work(number)
            with turn:
                out.append(number)
    except (StopIteration, ChannelClosed):
        pass
    except RuntimeError:
        turns.break_off()


def run(count: int, work, threads: int = 4) -> list[int]:
    turns, numbers, out = Turns(), iter(range(count)), []
    workers = [threading.Thread(target=serve, args=(turns, numbers, work, out)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(DEADLINE_S)
    assert not any(worker.is_alive() for worker in workers)
    return out


def test_results_come_in_the_order_of_taking_whatever_the_work_takes():
    luck = random.Random(0)
    assert run(200, lambda number: time.sleep(luck.random() / 500)) == list(range(200))


def test_work_overlaps():
    meeting = threading.Barrier(4, timeout=DEADLINE_S)
    assert run(4, lambda number: meeting.wait()) == [0, 1, 2, 3]


def test_who_dies_at_work_stops_the_others_and_nothing_comes_after_it():
    def work(number: int) -> None:
        if number == 7:
            raise RuntimeError("broken")

    out = run(100, work)
    assert out == list(range(len(out)))
    assert len(out) <= 7


def test_an_error_inside_a_turn_breaks_the_turns_off():
    turns = Turns()
    _, first = turns.take(lambda: None)
    _, second = turns.take(lambda: None)
    with pytest.raises(ValueError, match="inside"), first:
        raise ValueError("inside")
    with pytest.raises(ChannelClosed), second:
        pass
