"""`scene-streamer watch`: lines in a pipe, JSON for programs, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from bus_harness import RunningBus, bus_state

from tools.watch_view import WatchView


def watch(*arguments, **options):
    command = [sys.executable, "-m", "tools.cli", "watch", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def finish(process):
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err


def feed(bus):
    """Two scenes and a cut, once somebody listens to labels."""
    assert bus.publisher.wait_subscriber(20)
    time.sleep(0.2)  # the other kinds
    bus.put(bus_state(0, changed=True))
    bus.put(bus_state(1), bus_state(2, scene="street", changed=True, cut=True))


def test_json_prints_every_kind_and_ends_with_the_run():
    with RunningBus(heartbeat_s=0.1) as bus:
        process = watch(bus.labels, "--json")
        feed(bus)
        time.sleep(0.3)
        bus.end()
        code, out, err = finish(process)
    assert code == 0 and err == ""
    lines = [json.loads(line) for line in out.splitlines()]
    assert all(set(line) == {"topic", "body"} for line in lines)
    assert [line["body"]["seq"] for line in lines if line["topic"] == "L/cam1/"] == [0, 1, 2]
    assert {line["topic"][0] for line in lines} == {"L", "E", "H"}
    assert lines[-1]["body"]["type"] == "bye"


def test_a_pipe_gets_plain_lines():
    with RunningBus(heartbeat_s=0.2) as bus:
        process = watch(bus.labels)
        feed(bus)
        time.sleep(1.3)
        bus.end()
        code, out, _ = finish(process)
    assert code == 0
    assert "cam1: scene kitchen at 0.00 s\n" in out
    assert "cam1: cut at 0.08 s\ncam1: scene kitchen -> street at 0.08 s\n" in out
    assert "cam1: street 70% for 3.0 s, " in out
    assert out.endswith("cam1: ended (end)\n") and "\x1b" not in out


def test_one_source_of_several():
    with RunningBus(("cam1", "cam2")) as bus:
        process = watch(bus.labels, "--source", "cam1", "--json")
        assert bus.publisher.wait_subscriber(20)
        time.sleep(0.2)
        bus.put(bus_state(0, "cam2"), bus_state(0, "cam1"))
        bus.end()
        code, out, _ = finish(process)
    assert code == 0
    assert {json.loads(line)["body"]["source"] for line in out.splitlines()} == {"cam1"}


def test_a_reader_that_leaves_ends_it_quietly():
    with RunningBus(heartbeat_s=0.05) as bus:
        process = watch(bus.labels, "--json")
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) in (0, 1)
        assert process.stderr.read() == ""
        process.stderr.close()


def test_ctrl_c_is_130_and_waiting_is_said():
    with RunningBus() as bus:
        address = bus.labels
    process = watch(address)
    assert process.stderr.readline() == f"nobody publishes on {address} yet; waiting (Ctrl-C ends)\n"
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (130, "") and "Traceback" not in err


@pytest.mark.parametrize(("arguments", "code"), [(["nonsense"], 1), (["tcp://127.0.0.1:1", "-s", "a/b"], 2)])
def test_wrong_use_is_one_line(arguments, code):
    got, out, err = finish(watch(*arguments))
    assert (got, out) == (code, "") and err.count("\n") == 1 and arguments[-1] in err


def test_a_terminal_gets_a_table():
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    with RunningBus(heartbeat_s=0.1) as bus:
        command = [sys.executable, "-m", "tools.cli", "watch", bus.labels]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
        with subprocess.Popen(command, stdout=child, stderr=subprocess.PIPE, env=environment) as process:
            os.close(child)
            feed(bus)
            time.sleep(0.5)
            bus.end()
            out = _read_all(parent)
            assert process.wait(10) == 0
    assert "runner-up" in out and "street" in out and "━" in out


def _read_all(parent):
    data = b""
    while True:
        try:
            data += os.read(parent, 65536)
        except OSError:  # how Linux tells that the other side is closed
            os.close(parent)
            return data.decode()


def test_the_view_bears_what_a_publisher_should_not_send():
    head = {"v": 1, "source": "cam1", "run": "r", "seq": 0}
    view = WatchView()
    for stable in (None, 3, {"scene": "\x1b[2J", "p": "high"}, {}):
        view.take(head | {"type": "label", "stable": stable, "smoothed": [3, ["a"], ["b", None]], "drops": 4})
        assert "\x1b" not in "".join(view.status_lines()) and view.table().row_count == 1
    for body in ({"type": "scene"}, {"type": "novel"}, {"type": "cut", "time_base": [1, 0]}, {"type": "heartbeat"}):
        view.take(head | body)
    assert "ended (None)" in view.take(head | {"type": "bye", "drops": {"queue": 3}})
    assert view.sources["cam1"].drops == "queue 3" and view.status_lines() == []
