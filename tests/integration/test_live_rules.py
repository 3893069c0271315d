"""Rules in a whole run, and the commands that check them and try them out; `docs/rules.md` is true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import jsonschema
import pytest
from bus_harness import RunningBus, bus_state
from fakes import fake_recognizer
from http_server import WebServer, status
from rules_harness import camera, rule

import streamer.app
from config.errors import ConfigError
from config.labels import UnknownLabelError
from config.loader import load_settings
from models.package import find_package
from streamer import schemas
from streamer.app import run
from streamer.client import LabelSubscriber
from streamer.message import encode, label_body
from streamer.rules.engine import RuleEngine
from streamer.rules.names import check_model
from tools.commands import run_command_line

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
LABELS = list(find_package("scene18").labels)
DEADLINE_S = 5.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def config(folder: Path, *rules: dict) -> Path:
    path = folder / "rules.yaml"
    path.write_text(json.dumps({"rules": list(rules), "bus": {"labels": "tcp://127.0.0.1:*"}}))
    return path


# ----------------------------------------------------------------------- a run


@pytest.fixture
def faked(monkeypatch):
    monkeypatch.setattr(streamer.app, "recognizer_for", lambda model, lanes=1: fake_recognizer())


def run_with(path: Path, uri: str, **keys) -> list[dict]:
    """Run, with a subscriber that is there from the first frame; every event that came."""
    bodies, readers = [], []

    def read(publisher) -> None:
        def collect() -> None:
            with LabelSubscriber(publisher.labels_address, kinds=("L", "E"), timeout_s=20) as messages:
                for message in messages:
                    bodies.append(message.body)
                    if message.body["type"] == "bye":
                        return

        readers.append(threading.Thread(target=collect, daemon=True))
        readers[0].start()

    settings = load_settings(path, ["bus.wait_subscriber_s=5"])
    run([uri], ["cam"], settings, interrupted=keys.get("interrupted", threading.Event()), ready=read)
    readers[0].join(25)
    return bodies


def test_rules_of_a_run_reach_the_bus_a_webhook_and_a_command(faked, tmp_path):
    path = tmp_path / "told"
    with WebServer() as server:
        url = server.serve("/hook", status(200))
        write = "import os, sys; open(sys.argv[1], 'w').write(os.environ['SCENE_STREAMER_EVENT'])"
        bodies = run_with(
            config(
                tmp_path,
                {
                    "name": "stays",
                    "when": {"scene": LABELS, "for_s": 0.5},
                    "actions": [
                        "event",
                        {"webhook": {"url": url}},
                        {"command": {"args": [sys.executable, "-c", write, str(path)]}},
                    ],
                },
                {"name": "silent", "when": {"scene": LABELS}, "actions": [{"webhook": {"url": url}}]},
                {"name": "elsewhere", "when": {"unknown": True, "for_s": 100}},
            ),
            "synthetic:?frames=50&fps=25&realtime=1",
        )
        posted = [json.loads(body) for body in server.posted]
    events = [body for body in bodies if body["type"] == "rule"]
    assert [event["rule"] for event in events] == ["stays"]
    place = bodies.index(events[0])
    assert (bodies[place - 1]["type"], bodies[place - 1]["pts"]) == ("label", events[0]["pts"])
    assert events[0]["held_s"] >= 0.5 and events[0]["since_pts"] == 0
    for body in (*events, *posted):
        jsonschema.Draft202012Validator(schemas.load("event")).validate(body)
    assert {body["rule"]: body["seq"] for body in posted} == {"silent": 0, "stays": 0}
    same = {"rule", "run", "source", "epoch", "pts", "time_base", "scene", "p", "since_pts", "held_s", "frame_id"}
    stays = next(body for body in posted if body["rule"] == "stays")
    assert {key: stays[key] for key in same} == {key: events[0][key] for key in same}
    assert json.loads(path.read_text()) == stays


def test_a_hanging_webhook_keeps_no_run_from_ending(faked, tmp_path):
    interrupted = threading.Event()
    with WebServer() as server:
        url = server.serve("/hook", lambda handler: server.stopping.wait(30))
        action = {"webhook": {"url": url, "timeout_s": 60}}
        path = config(tmp_path, {"name": "hangs", "when": {"scene": LABELS}, "actions": [action]})
        stopped_s = []

        def stop_once_it_hangs() -> None:
            end_s = time.monotonic() + 20
            while not server.posted and time.monotonic() < end_s:
                time.sleep(0.01)
            stopped_s.append(time.monotonic())
            interrupted.set()

        threading.Thread(target=stop_once_it_hangs, daemon=True).start()
        run(["synthetic:?realtime=1"], [], load_settings(path), interrupted=interrupted)
        assert time.monotonic() - stopped_s[0] < DEADLINE_S
        assert server.posted
    assert [thread.name for thread in threading.enumerate() if thread.name == "actions"] == []


@pytest.mark.parametrize(
    ("keys", "error", "hint"),
    [
        ({"when": {"scene": "kitchn"}}, UnknownLabelError, "did you mean 'kitchen'"),
        ({"when": {"unknown": True}, "sources": "cam2"}, ConfigError, "no source is called 'cam2'"),
        (
            {"when": {"unknown": True}, "actions": [{"command": {"args": ["/no/such/program"]}}]},
            ConfigError,
            "/no/such/program",
        ),
    ],
)
def test_a_rule_that_cannot_work_ends_the_run_at_its_start(faked, tmp_path, keys, error, hint):
    path = config(tmp_path, {"name": "r", **keys})
    with pytest.raises(error, match="rule 'r'") as caught:
        run(["synthetic:"], [], load_settings(path), interrupted=threading.Event())
    assert hint in str(caught.value)


def test_watch_tells_of_a_rule():
    with RunningBus() as bus:
        command = [sys.executable, "-m", "tools.cli", "watch", bus.labels]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert bus.publisher.wait_subscriber(20)
            time.sleep(0.3)  # the other kinds
            bus.put(bus_state(5))
            bus.put(*RuleEngine([rule({"scene": "kitchen"}, name="cooking")]).step(camera("k")[0]))
            bus.end()
            out, _ = process.communicate(timeout=20)
    assert "cam1: rule cooking at 0.20 s\n" in out


# ------------------------------------------------------------------- commands


@pytest.fixture
def call(capsys, logs_as_they_were):
    def rules(*arguments: object) -> tuple[int, str, str]:
        code = run_command_line(["rules", *map(str, arguments)])
        return code, *capsys.readouterr()

    return rules


def recorded(path: Path, scenes: str, *, wrapped: bool = False) -> Path:
    """Labels of a frame every 0.04 s, k kitchen and s street."""
    lines = []
    for seq, letter in enumerate(scenes):
        state = bus_state(seq, scene={"k": "kitchen", "s": "street"}[letter])
        body = label_body(state, run="run-1", t_publish_ns=1)
        line = encode(body, "json")
        lines += (
            [b'{"topic": "L/cam1/", "body": ' + line + b"}", b'{"topic": "H/cam1/", "body": {}}'] if wrapped else [line]
        )
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


STAYS = {
    "name": "stays",
    "when": {"scene": "kitchen", "for_s": 0.4},
    "actions": ["event", {"command": {"args": ["sh"]}}],
}
LEAVES = {"name": "leaves", "when": {"change": {"from": "kitchen", "to": "street"}}}


def test_check_says_rules_in_words(call, tmp_path):
    path = config(tmp_path, STAYS, LEAVES)
    code, out, _ = call("check", path)
    assert code == 0
    assert (
        "stays: when the scene is kitchen for 0.4 s, on every source\n    event on the bus\n    command: ['sh']" in out
    )
    code, out, _ = call("check", path, "--json")
    assert code == 0
    assert [entry["name"] for entry in json.loads(out)] == ["stays", "leaves"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_trial_says_what_would_have_fired(call, tmp_path, wrapped):
    path, labels = config(tmp_path, STAYS, LEAVES), recorded(tmp_path / "l.jsonl", "k" * 20 + "s" * 5, wrapped=wrapped)
    code, out, err = call("test", path, labels)
    assert code == 0
    assert out.splitlines() == [
        "cam1  00:00.400  stays (kitchen for 0.4 s)  event, command",
        "cam1  00:00.800  leaves (kitchen -> street)  event",
    ]
    assert "25 labels, 2 firings" in err
    code, out, _ = call("test", path, labels, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["labels"] == 25
    assert [(f["rule"], f["time_s"], f["pts"], f["actions"]) for f in report["firings"]] == [
        ("stays", 0.4, 10, ["event", "command"]),
        ("leaves", 0.8, 20, ["event"]),
    ]


def test_mistakes_are_one_line(call, tmp_path):
    good = config(tmp_path, STAYS)
    labels = recorded(tmp_path / "good.jsonl", "k")
    (tmp_path / "cut.jsonl").write_bytes(labels.read_bytes()[:-20])
    (tmp_path / "empty.jsonl").write_text("")
    unset = tmp_path / "unset.yaml"
    unset.write_text("rules: [{name: r, when: {unknown: true}, actions: [{webhook: {url: 'https://h/${NO_SUCH}'}}]}]")
    cases = [
        (("check", "default"), 2, "no rules"),
        (("check", tmp_path / "none.yaml"), 2, "none.yaml"),
        (("check", good, "--set", "rules=[{name: r, when: {scene: moon}}]"), 1, "known: "),
        (("check", good, "--set", "rules=[{name: r, when: {scene: kitchen, fors: 3}}]"), 2, "rules[0].when.for_s"),
        (("check", unset), 2, "NO_SUCH"),
        (("test", good, tmp_path / "none.jsonl"), 1, "none.jsonl"),
        (("test", good, tmp_path), 1, "cannot read"),
        (("test", good, tmp_path / "empty.jsonl"), 1, "holds no labels"),
        (("test", good, tmp_path / "cut.jsonl"), 1, "line 1: not JSON"),
    ]
    for arguments, expected, hint in cases:
        code, out, err = call(*arguments)
        assert (code, out, err.count("\n")) == (expected, "", 1), err
        assert hint in err


# ------------------------------------------------------------------ docs/rules.md


@pytest.mark.parametrize("text", blocks("yaml"))
def test_examples_are_valid(tmp_path, text):
    path = tmp_path / "example.yaml"
    path.write_text(text)
    settings = load_settings(path)
    assert settings.rules
    check_model(settings.rules, find_package("scene18"))


def test_conditions_of_the_table_are_valid():
    conditions = re.findall(r"^\| `(\{.*?\})` \|", PAGE, re.MULTILINE)
    assert len(conditions) == 4
    for condition in conditions:
        settings = load_settings(None, [f"rules=[{{name: r, when: {condition}}}]"])
        check_model(settings.rules, find_package("scene18"))


@pytest.mark.parametrize("text", blocks("json"))
def test_example_bodies_fit_the_schema(text):
    jsonschema.Draft202012Validator(schemas.load("event")).validate(json.loads(text))
