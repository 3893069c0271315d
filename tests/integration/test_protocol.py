"""What `docs/protocol.md` shows is true: its bodies fit the schemas, its programs read a real publisher."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from bus_harness import RunningBus, bus_state

from streamer import schemas
from streamer.message import check_head

_PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", _PAGE, re.DOTALL)


@pytest.mark.parametrize("text", blocks("json"))
def test_example_bodies(text):
    body = json.loads(text)
    check_head(body)
    name = body["type"] if body["type"] in schemas.NAMES else "event"
    jsonschema.Draft202012Validator(schemas.load(name)).validate(body)


def test_there_is_an_example_of_each():
    assert {json.loads(text)["type"] for text in blocks("json")} == {"label", "scene", "heartbeat", "frame"}
    assert len(blocks("python")) == 2


@pytest.mark.parametrize("code", blocks("python"))
def test_example_programs(code):
    with RunningBus() as bus:
        command = [sys.executable, "-c", code.replace("tcp://127.0.0.1:5555", bus.labels)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert bus.publisher.wait_subscriber(20)
            time.sleep(0.2)  # its second subscription
            bus.put(bus_state(0), bus_state(1, scene="street"))
            bus.end()
            out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert [line.split()[0] for line in out.splitlines()] == ["kitchen", "street"]
