"""Truth files: what is written is read again; every fault is one line with the file and the key."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from config.errors import UserError
from tools.walkthrough.planning import Wishes, plan
from tools.walkthrough.truth import TruthError, read_truth, truth_of, truth_path

PICTURES = {scene: [f"{scene}/{i}.jpg" for i in range(8)] for scene in ("coast", "street")}
WALK = plan(PICTURES, Wishes(segments=3, segment_seconds=Fraction(6), transitions=("dissolve", "slow")))


def values() -> dict:
    return truth_of(WALK).model_dump(mode="json")


def test_a_file_is_read_as_it_was_written(tmp_path):
    path = truth_path(tmp_path / "a.b.mp4")
    assert path.name == "a.b.truth.json"
    path.write_text(json.dumps(values()))
    truth = read_truth(path)
    assert truth == truth_of(WALK)
    assert truth.fps == (25, 1)
    assert truth.tick == WALK.time_base
    assert [shot.picture for shot in truth.shots] == [shot.picture for shot in WALK.shots]


def test_a_variable_rate_is_called_so():
    assert truth_of(plan(PICTURES, Wishes(variable_rate=True))).fps == "variable"


def change(path: str, value: object) -> dict:
    """The values with one of them changed, or added; the path as in `shots.2.scene`."""
    whole = values()
    *way, last = [int(key) if key.isdecimal() else key for key in path.split(".")]
    place = whole
    for key in way:
        place = place[key]
    place[last] = value
    return whole


FAULTS = {
    "unknown key": (change("colour", "red"), "unknown key 'colour'"),
    "unknown key inside": (change("shots.1.colour", "red"), r"unknown key 'shots\[1\].colour'"),
    "wrong kind": (change("transitions.0.kind", "wipe"), r"transitions\[0\].kind = 'wipe'"),
    "no number": (change("segments.0.end_pts", "soon"), r"segments\[0\].end_pts = 'soon'"),
    "zero time base": (change("time_base", [1, 0]), r"time_base\[1\] = 0"),
    "wrong rate": (change("fps", "fast"), "fps"),
    "no segments": (change("segments", []), "segments"),
    "gap between segments": (change("segments.1.start_pts", 5), r"segments\[1\].start_pts is 5"),
    "late start": (change("shots.0.start_pts", 5), r"shots\[0\].start_pts is 5"),
    "shot over a transition": (change("shots.1.end_pts", 10**7), r"transitions\[1\].start_pts"),
    "midpoint outside": (change("transitions.0.midpoint_pts", 0), r"transitions\[0\].midpoint_pts is 0"),
    "scene of a shot": (change("shots.0.scene", "moon"), r"transitions\[0\].from_scene"),
    "claims a change": (change("transitions.0.changes_scene", True), r"transitions\[0\].changes_scene is True"),
    "a transition too few": (change("transitions", values()["transitions"][1:]), r"len\(transitions\)"),
    "another version": (change("version", 2), "version = 2, but only 1"),
    "no version": ({k: v for k, v in values().items() if k != "version"}, "'version' is missing"),
    "a list": ([], "group of keys"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_told_with_file_and_key(kind, tmp_path):
    content, message = FAULTS[kind]
    path = tmp_path / "walk.truth.json"
    path.write_text(json.dumps(content))
    with pytest.raises(TruthError, match=rf"walk\.truth\.json: .*{message}") as caught:
        read_truth(path)
    assert isinstance(caught.value, UserError)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(TruthError, match=r"no truth at .*walk\.truth\.json"):
        read_truth(tmp_path / "walk.truth.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"\0" * 10])
def test_a_file_that_is_no_json(content, tmp_path):
    path = tmp_path / "walk.truth.json"
    path.write_bytes(content)
    with pytest.raises(TruthError, match="is no truth of a walkthrough"):
        read_truth(path)
