from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest

from config.errors import ConfigError, UserError
from config.labels import LabelList, UnknownLabelError, label_lists, load_labels, parse_labels
from config.labels.palette import ade20k_palette

LENGTHS = {
    "ade20k_objects": 150,
    "ade20k_scenes": 1055,
    "mit67": 67,
    "places365": 365,
    "scene18": 18,
    "sun397": 397,
}


def test_every_list_is_known() -> None:
    assert label_lists() == sorted(LENGTHS)


@pytest.mark.parametrize(("name", "length"), LENGTHS.items())
def test_a_list_has_its_length_and_its_name(name: str, length: int) -> None:
    labels = load_labels(name)
    assert labels.name == name
    assert len(labels) == len(set(labels.names)) == length
    assert all(text == text.strip() and text for text in labels.names)
    assert labels.sha256 == hashlib.sha256("\n".join(labels.names).encode()).hexdigest()


def test_the_18_scenes_are_alphabetical_with_their_groups() -> None:
    labels = load_labels("scene18")
    assert list(labels.names) == sorted(labels.names)
    assert labels.groups is not None
    assert dict(zip(labels.names, labels.groups, strict=True))["kitchen"] == "indoor"
    assert labels.groups.count("indoor") == 8
    assert labels.groups.count("outdoor") == 10


def test_the_hash_of_a_packaged_list_never_changes_unnoticed() -> None:
    # Models and subscribers compare this figure: a new order or name needs a new list.
    assert load_labels("scene18").sha256.startswith("1160b00376d50529")


def test_ade20k_objects_count_from_one() -> None:
    labels = load_labels("ade20k_objects")
    assert [labels.name_of(i) for i in (1, 2, 3, 13, 149, 150)] == [
        "wall", "building", "sky", "person", "clock", "flag",
    ]  # fmt: skip
    for outside in (0, 151, -1):
        with pytest.raises(IndexError, match=r"1\.\.150"):
            labels.name_of(outside)


def test_places365_has_groups() -> None:
    labels = load_labels("places365")
    assert labels.groups is not None
    assert (labels.groups.count("indoor"), labels.groups.count("outdoor")) == (160, 205)
    assert labels.groups[labels.index("field/cultivated")] == "outdoor"


@pytest.mark.parametrize("spelling", ["/f/field/cultivated", "field/cultivated", "field-cultivated"])
def test_the_spellings_of_a_scene_are_one(spelling: str) -> None:
    labels = load_labels("places365")
    assert labels.names[labels.index(spelling)] == "field/cultivated"


@pytest.mark.parametrize("name", LENGTHS)
def test_every_name_finds_itself(name: str) -> None:
    labels = load_labels(name)
    assert [labels.index(text) for text in labels.names] == list(range(len(labels)))


def test_an_unknown_scene_gets_the_closest_ones() -> None:
    with pytest.raises(UnknownLabelError, match="did you mean 'kitchen'"):
        load_labels("scene18").index("kichen")


@pytest.mark.parametrize("name", ["scene81", "", "../labels/scene18", "/etc/passwd"])
def test_an_unknown_list_gets_the_known_ones(name: str) -> None:
    with pytest.raises(UserError, match=r"known: ade20k_objects, .*sun397"):
        load_labels(name)


def test_group_shares_sum_the_probabilities() -> None:
    labels = LabelList("x", ("a", "b", "c"), ("in", "out", "in"))
    shares = labels.group_shares(np.array([0.5, 0.2, 0.3], np.float32))
    assert shares == pytest.approx({"in": 0.8, "out": 0.2})
    assert LabelList("x", ("a", "b")).group_shares([0.5, 0.5]) == {}
    with pytest.raises(ValueError, match="3 labels"):
        labels.group_shares([1.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no names"),
        ("# name: x\n\n", "no names"),
        ("a\nb\na\n", "more than once: a"),
        ("a\tindoor\nb\n", "either every name"),
        ("# first id: one\na\n", "whole number"),
    ],
)
def test_a_bad_list_says_why(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_labels(text, "mine")


def test_the_longest_list_loads_in_milliseconds() -> None:
    load_labels("ade20k_scenes")
    start = time.perf_counter()
    load_labels("ade20k_scenes")
    assert time.perf_counter() - start < 0.05


def test_the_palette_has_a_colour_for_every_class() -> None:
    palette = ade20k_palette()
    assert palette.shape == (151, 3)
    assert palette.dtype == np.uint8
    assert palette[0].tolist() == [128, 128, 128]
    assert len(np.unique(palette, axis=0)) == 151
    assert np.array_equal(palette, ade20k_palette())


def test_colours_that_people_expect() -> None:
    palette = ade20k_palette().astype(int)
    labels = load_labels("ade20k_objects")
    dominant = {"sky": 2, "water": 2, "tree": 1, "grass": 1, "person": 0, "building": 0}
    for name, channel in dominant.items():
        assert palette[labels.index(name) + labels.first_id].argmax() == channel, name
