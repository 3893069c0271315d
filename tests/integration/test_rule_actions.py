"""Webhooks and commands as rules do them: against a server that fails, hangs and redirects, and with real programs."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from http_server import WebServer, redirect, status
from rules_harness import camera, rule

import streamer.rules.actions.runner as runner_module
from streamer.errors import ConfigError
from streamer.rules.actions import webhook
from streamer.rules.actions.runner import LINGER_S, ActionRunner
from streamer.rules.engine import RuleEngine
from streamer.worker import Worker

SECRET = "s3cret"


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as web:
        yield web


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Waits between attempts, shortened."""
    monkeypatch.setattr(webhook, "_FIRST_WAIT_S", 0.02)


class Running:
    """A runner at work on one rule; `end` closes its queue and gives the seconds until its thread was gone."""

    def __init__(self, *actions, environment: dict[str, str] | None = None) -> None:
        self.rule = rule({"scene": "kitchen", "for_s": 0.5}, name="cooking", actions=list(actions))
        self.runner = ActionRunner([self.rule], os.environ | (environment or {}))
        self.worker = Worker("actions", self.runner.run, inputs=[self.runner.queue])
        self.worker.start()

    def fire(self, times: int = 1) -> None:
        engine = RuleEngine([self.rule])
        firing = next(firing for frame in camera("kkkkkk") for firing in engine.step(frame))
        for number in range(times):
            body = replace(firing, number=number).body("run-1", 1)
            self.runner.do("cooking", body, firing.sighting.seconds)

    def end(self) -> float:
        began = time.monotonic()
        self.runner.queue.close()
        assert self.worker.join(10), "the actions did not end"
        if self.worker.error is not None:
            raise self.worker.error
        return time.monotonic() - began


@contextmanager
def running(*actions, environment: dict[str, str] | None = None) -> Iterator[Running]:
    at_work = Running(*actions, environment=environment)
    try:
        yield at_work
    finally:
        at_work.end()
    assert [thread.name for thread in threading.enumerate() if thread.name in ("actions", "look-up")] == []


def wait_for(condition, timeout_s: float = 10.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.01)


def hook(url: str, **keys) -> dict:
    return {"webhook": {"url": url, **keys}}


def command(*args: object, **keys) -> dict:
    return {"command": {"args": [str(argument) for argument in args], **keys}}


def python(code: str, *args: object, **keys) -> dict:
    return command(sys.executable, "-c", code, *args, **keys)


# ------------------------------------------------------------------- webhooks


def test_a_webhook_posts_the_event(server):
    url = server.serve("/hook", status(204))
    headers = {"Authorization": "Bearer ${TOKEN}"}
    with running(hook(url, headers=headers), environment={"TOKEN": SECRET}) as at_work:
        at_work.fire()
        wait_for(lambda: server.posted)
    body = json.loads(server.posted[0])
    assert {"type": "rule", "rule": "cooking", "scene": "kitchen", "source": "cam1", "pts": 5, "seq": 0}.items() <= (
        body.items()
    )
    sent = {name.lower(): value for name, value in server.requests[0][1].items()}
    assert (sent["authorization"], sent["content-type"]) == (f"Bearer {SECRET}", "application/json")


def test_an_address_may_be_a_variable(server):
    url = server.serve("/hook", status(200))
    with running(hook("${URL}"), environment={"URL": url}) as at_work:
        at_work.fire()
        wait_for(lambda: server.posted)


def test_a_failure_that_may_pass_is_tried_again(server, caplog):
    url = server.serve("/hook", status(503), status(429), status(200))
    with running(hook(url, retries=3)) as at_work:
        at_work.fire()
        wait_for(lambda: len(server.posted) == 3)
    assert len(set(server.posted)) == 1
    assert caplog.text == ""


def test_retries_come_to_an_end(server, caplog):
    url = server.serve("/hook", status(500))
    with running(hook(url, retries=2)) as at_work:
        at_work.fire()
        wait_for(lambda: "the server answered 500" in caplog.text)
    assert len(server.posted) == 3


def test_a_refusal_is_not_tried_again(server, caplog):
    url = server.serve("/hook", status(403))
    with running(hook(url, retries=3)) as at_work:
        at_work.fire()
        wait_for(lambda: "the server answered 403" in caplog.text)
    assert len(server.posted) == 1


def test_a_server_that_hangs_costs_its_timeout(server, caplog):
    url = server.serve("/hook", lambda handler: server.stopping.wait(30), status(200))
    with running(hook(url, timeout_s=0.3)) as at_work:
        at_work.fire()
        wait_for(lambda: len(server.posted) == 2)
    assert caplog.text == ""


def test_an_answer_without_end_is_not_read(server, caplog):
    url = server.serve("/hook", server.silent_after(b"x" * 100, 10**9))
    with running(hook(url, retries=0)) as at_work:
        at_work.fire()
        wait_for(lambda: server.posted)
    assert caplog.text == ""


@pytest.mark.parametrize("target", ["{server}/other", "file:///etc/passwd", "/elsewhere", "ftp://h.example/x"])
def test_no_redirect_is_followed(server, caplog, target):
    server.serve("/other", status(200))
    url = server.serve("/hook", redirect(target.format(server=server.url)))
    with running(hook(url)) as at_work:
        at_work.fire()
        wait_for(lambda: "put the new address into the rule" in caplog.text)
    assert [path for path, _ in server.requests] == ["/hook"]


def test_nobody_listens(caplog):
    with running(hook("http://127.0.0.1:9/hook", retries=1)) as at_work:
        at_work.fire()
        wait_for(lambda: "no connection" in caplog.text)


def test_a_host_that_does_not_exist(caplog):
    with running(hook("http://no-such-host.invalid/hook", retries=0)) as at_work:
        at_work.fire()
        wait_for(lambda: "rule cooking, webhook to http://no-such-host.invalid" in caplog.text)


def test_secrets_of_an_address_reach_no_log(server, caplog):
    caplog.set_level(logging.DEBUG)
    server.serve(f"/{SECRET}?key={SECRET}", status(500))
    url = server.url.replace("http://", f"http://me:{SECRET}@") + f"/{SECRET}?key={SECRET}"
    with running(hook(url, retries=1, headers={"X-Key": SECRET})) as at_work:
        at_work.fire()
        wait_for(lambda: "answered 500" in caplog.text)
    assert server.requests[0][1]["Authorization"].startswith("Basic ")
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("settings", "environment", "hint"),
    [
        (hook("https://h.example/${NO_SUCH}"), {}, "environment variable NO_SUCH"),
        (hook("https://h.example", headers={"X": "${NO_SUCH}"}), {}, "X of a webhook needs"),
        (hook("https://h.example", headers={"X": "${KEY}"}), {"KEY": f"{SECRET}\r\nY: 1"}, "X of a webhook holds"),
        (hook("${KEY}"), {"KEY": f"ftp://h.example/{SECRET}"}, "looks like https://"),
        (hook("https://h.example${KEY}"), {"KEY": f":{SECRET}"}, "looks like https://"),
        (command("/no/such/program"), {}, "no program '/no/such/program'"),
    ],
)
def test_what_cannot_work_is_said_before_the_run(settings, environment, hint):
    with pytest.raises(ConfigError) as caught:
        Running(settings, environment=environment)
    assert "rule 'cooking': " in str(caught.value)
    assert hint in str(caught.value)
    assert SECRET not in str(caught.value)


# ------------------------------------------------------------------- commands

_TELL = "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps([sys.argv[2:], dict(os.environ)]))"


def told(path: Path) -> tuple[list[str], dict[str, str]]:
    wait_for(lambda: path.exists() and path.stat().st_size > 0)
    time.sleep(0.1)
    arguments, environment = json.loads(path.read_text())
    return arguments, environment


def test_a_command_gets_its_arguments_and_the_event(tmp_path):
    path = tmp_path / "told"
    with running(python(_TELL, path, "{rule}: {scene} on {source}")) as at_work:
        at_work.fire()
        arguments, environment = told(path)
    assert arguments == ["cooking: kitchen on cam1"]
    ours = {name.removeprefix("SCENE_STREAMER_"): value for name, value in environment.items()}
    assert (ours["RULE"], ours["SCENE"], ours["SOURCE"], ours["TIME_S"]) == ("cooking", "kitchen", "cam1", "0.500000")
    assert (ours["HELD_S"], ours["UNKNOWN"]) == ("0.5", "false")
    assert json.loads(ours["EVENT"])["rule"] == "cooking"


def test_no_shell_sees_the_arguments(tmp_path):
    path, victim = tmp_path / "told", tmp_path / "victim"
    nasty = [f"; touch {victim}", f"$(touch {victim})", f"`touch {victim}`", "*", "$HOME", "a b", "| cat", "'\"", "{}"]
    with running(python(_TELL, path, *nasty)) as at_work:
        at_work.fire()
        arguments, _ = told(path)
    assert arguments == nasty
    assert not victim.exists()


def test_the_output_of_a_command_that_fails_is_logged(caplog):
    with running(python("import sys; print('x' * 9000); print('no', 'oven', file=sys.stderr); sys.exit(3)")) as at_work:
        at_work.fire()
        wait_for(lambda: "exit code 3" in caplog.text)
    assert "no oven" in caplog.text
    assert len(caplog.text) < 3000


def test_a_command_that_writes_without_end_is_not_held_up():
    with running(python("print('x' * 10_000_000)", timeout_s=20)) as at_work:
        at_work.fire()
        wait_for(lambda: not at_work.runner.queue and not at_work.runner._running, 20)


def alive(pid: int) -> bool:
    """Whether a process runs (a dead one that nobody has asked for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def family(path: Path, *, stubborn: bool = False) -> dict:
    """A program with a child; both write their number down and sleep. `stubborn` ones ignore SIGTERM."""
    ignore = "trap '' TERM; " if stubborn else ""
    out = shlex.quote(str(path))
    script = f"{ignore}sleep 60 & echo $! >> {out}; echo $$ >> {out}; while true; do sleep 60; done"
    return {"args": ["sh", "-c", script]}


def numbers(path: Path) -> list[int]:
    wait_for(lambda: path.exists() and len(path.read_text().split()) == 2)
    return [int(word) for word in path.read_text().split()]


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_command_that_takes_too_long_ends_with_its_children(tmp_path, caplog, stubborn):
    path = tmp_path / "numbers"
    with running({"command": family(path, stubborn=stubborn) | {"timeout_s": 0.5}}) as at_work:
        at_work.fire()
        pids = numbers(path)
        wait_for(lambda: "ended after 0.5 s" in caplog.text)
        wait_for(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_end_of_a_run_ends_commands_with_their_children(tmp_path, caplog, stubborn):
    path = tmp_path / "numbers"
    at_work = Running({"command": family(path, stubborn=stubborn)})
    at_work.fire()
    pids = numbers(path)
    assert at_work.end() < LINGER_S + 1.5
    wait_for(lambda: not any(map(alive, pids)))
    assert "gave up 1 actions" in caplog.text


def test_a_program_that_is_gone_by_then_is_logged(tmp_path, caplog):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with running(command(program)) as at_work:
        program.unlink()
        at_work.fire()
        wait_for(lambda: "cannot be started" in caplog.text)


def test_a_command_that_is_killed_says_by_what(caplog):
    with running(command("sh", "-c", "kill -9 $$")) as at_work:
        at_work.fire()
        wait_for(lambda: f"killed by signal {signal.SIGKILL:d}" in caplog.text)


# ------------------------------------------------------------------ the runner


def test_too_many_actions_drop_the_oldest_and_say_so(server, caplog, monkeypatch):
    monkeypatch.setattr(runner_module, "_WARN_EVERY_S", 0.0)
    release = threading.Event()
    url = server.serve("/hook", lambda handler: (release.wait(20), status(200)(handler)))
    at_work = Running(hook(url, timeout_s=20, retries=0))
    began = time.monotonic()
    at_work.fire(200)
    assert time.monotonic() - began < 1, "the pipeline was made to wait"
    wait_for(lambda: "actions of rules: too many at a time" in caplog.text)
    dropped = at_work.runner.queue.dropped
    release.set()
    wait_for(lambda: len(server.posted) == 200 - dropped)
    at_work.end()
    kept = sorted(json.loads(body)["seq"] for body in server.posted)
    assert kept[-64:] == list(range(136, 200))


def test_the_end_of_a_run_gives_up_webhooks_that_hang(server, caplog):
    url = server.serve("/hook", lambda handler: server.stopping.wait(30))
    at_work = Running(hook(url, timeout_s=60))
    at_work.fire(20)
    wait_for(lambda: server.posted)
    assert at_work.end() < LINGER_S + 1
    assert "gave up 20 actions" in caplog.text


def test_what_is_queued_at_the_end_is_still_done(server):
    url = server.serve("/hook", status(200))
    at_work = Running(hook(url))
    at_work.fire()
    wait_for(lambda: server.posted)
    at_work.fire(5)
    at_work.end()
    assert len(server.posted) == 6


def test_a_look_up_without_an_answer_holds_up_no_end(monkeypatch):
    forever = threading.Event()
    monkeypatch.setattr(runner_module.socket, "getaddrinfo", lambda *_, **__: forever.wait(30))
    at_work = Running(hook("http://slow.example/hook", timeout_s=60))
    at_work.fire()
    time.sleep(0.5)
    assert at_work.end() < LINGER_S + 1
    forever.set()
