"""Labels that were written down are read back, or the line that is wrong is named."""

from __future__ import annotations

import json
import logging

import pytest
from label_files import UNKNOWN, label, labels, write_labels
from scene_states import gradual, make_state

from streamer.errors import LabelFileError
from streamer.label_file import read_labels
from streamer.message import Place, event_body
from streamer.spans import CutNote, Moment


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clip.labels.jsonl"


def test_labels_come_back_as_they_were(path):
    bodies = [*labels(["kitchen", UNKNOWN]), label("street", 2, cut=True, epoch=3)]
    lines = list(read_labels(write_labels(path, bodies)))
    states = [make_state(scene="kitchen"), make_state(pts=1, seq=1, unknown=True)]
    states.append(make_state(scene="street", pts=2, seq=2, cut=True, epoch=3))
    for line, state in zip(lines, states, strict=True):
        moment = Moment.of(state)
        assert (line.moment.pts, line.moment.epoch, line.moment.frame_id) == (moment.pts, moment.epoch, moment.frame_id)
        assert (line.moment.scene, line.moment.cut) == (moment.scene, moment.cut)
        assert line.moment.p == pytest.approx(moment.p)
        assert line.smoothed == [(scene, pytest.approx(p)) for scene, p in state.smoothed]
        assert line.model["name"] == "scene18"
    assert [line.number for line in lines] == [1, 2, 3]


def test_a_gradual_cut_has_its_place(path):
    bodies = [label("kitchen", 0), label("street", 30, transition=gradual("dissolve", 10, 20)), label("street", 40)]
    found = [line.moment.cut for line in read_labels(write_labels(path, bodies))]
    assert found == [None, CutNote("dissolve", 20, 20, 10, 10), None]
    del bodies[1]["transition"]  # as labels were written once
    found = [line.moment.cut for line in read_labels(write_labels(path, bodies))]
    assert found == [None, CutNote("dissolve", 30, 30), None]


def test_what_watch_prints_is_read_too(path):
    place = {"topic": "L/clip/"}
    event = event_body("scene", Place("clip", "run"), seq=0, t_publish_ns=0, details={"to": "kitchen"})
    lines = [place | {"body": body} for body in labels(["kitchen", "street"])]
    write_labels(path, [{"topic": "E/clip/", "body": event}, *lines])
    assert [line.moment.scene for line in read_labels(path)] == ["kitchen", "street"]


def test_a_last_line_that_is_cut_off_is_left_out_with_a_warning(path, caplog):
    write_labels(path, labels(["kitchen"] * 3))
    path.write_bytes(path.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        assert len(list(read_labels(path))) == 2
    assert "the last line (3) is cut off" in caplog.text


def test_a_whole_last_line_needs_no_end(path):
    write_labels(path, labels(["kitchen"] * 3))
    path.write_bytes(path.read_bytes()[:-1])
    assert len(list(read_labels(path))) == 3


def test_empty_lines_do_no_harm(path):
    path.write_text("\n\n" + json.dumps(label("kitchen", 0)) + "\n\n")
    assert [line.number for line in read_labels(path)] == [3]


def without(key: str) -> str:
    body = label("kitchen", 1)
    del body[key]
    return json.dumps(body)


def changed(**values) -> str:
    return json.dumps(label("kitchen", 1) | values)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('{"v": 1', "line 2 is no JSON"),
        ("\x00\x00", "line 2 is no JSON"),
        ("[" * 100_000, "line 2 is no JSON"),
        ("17", "line 2 is no message"),
        (changed(v=2), "line 2: protocol version 2"),
        (without("pts"), "line 2: 'pts' is missing"),
        (without("stable"), "line 2: 'stable' is missing"),
        (changed(time_base=[1, 0]), "line 2: time_base"),
        (changed(stable={"scene": "kitchen", "p": 7}), r"line 2: stable\.p"),
        (changed(cut="fade", transition={"start_pts": 1}), r"line 2: 'transition\.start_frame_id' is missing"),
        (changed(smoothed=[["kitchen", float("nan")]]), "line 2: smoothed"),
        (changed(source="cam2"), r"line 2: labels of 'cam2' beside those of 'clip'; choose one with --source"),
        ("x" * (1 << 20), "line 2 is far too long"),
    ],
)
def test_a_line_that_is_wrong_is_named(line, hint, path):
    path.write_text(f"{json.dumps(label('kitchen', 0))}\n{line}\n")
    with pytest.raises(LabelFileError, match=rf"clip\.labels\.jsonl {hint}"):
        list(read_labels(path))


def test_one_of_several_sources(path):
    write_labels(path, [body | {"source": f"cam{i % 2}"} for i, body in enumerate(labels(["kitchen"] * 6))])
    assert [line.moment.pts for line in read_labels(path, "cam1")] == [1, 3, 5]
    with pytest.raises(LabelFileError, match=r"no labels of 'cam7'; it has those of cam0, cam1"):
        list(read_labels(path, "cam7"))


def test_no_labels_at_all(path):
    path.write_text("")
    with pytest.raises(LabelFileError, match="holds no labels"):
        list(read_labels(path))
    with pytest.raises(LabelFileError, match="no labels at"):
        list(read_labels(path.with_name("none.jsonl")))
    with pytest.raises(LabelFileError, match="cannot read"):
        list(read_labels(path.parent))
