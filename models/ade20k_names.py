"""Which ADE20K classes the outputs of somebody else's network stand for, by their names."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import config.labels
from config.labels import load_labels
from config.yaml12 import parse_yaml
from models.errors import ModelError

__all__ = ["class_ids_of"]

_log = logging.getLogger(__name__)

_OBJECTS = "ade20k_objects"
_SYNONYMS = "ade20k_synonyms.yaml"
_NONE = frozenset({"background", "other", "others", "none", "void", "unlabeled", "unlabelled", "nothing"})
_SHOWN = 3


def class_ids_of(labels: Sequence[str], name: str) -> tuple[int, ...]:
    """The ADE20K id (1..150, 0 for "none of them") of each output of a network.

    By name; a label may be several names ("windowpane, window"). Where names do not tell ("LABEL_0"), by position, if
    there are exactly 150, or 151 of which the first is "background" or "other", and no name speaks against it.

    Args:
        labels: of the network's K outputs.
        name: of the network, for messages.

    Raises:
        ModelError: the labels are not ADE20K's.
    """
    found = [_class_id(label) for label in labels]
    classes = [number for number in found if number]
    if None not in found and classes and len(set(classes)) == len(classes):
        return tuple(number or 0 for number in found)
    strange = [label for label, number in zip(labels, found, strict=True) if number is None]
    positions = _positions(labels)
    if positions is None or any(number not in (None, at) for number, at in zip(found, positions, strict=True)):
        raise ModelError(
            f"{name} does not name the 150 classes of ADE20K: it has {len(labels)} labels, {_few(strange, classes)}; "
            "take a model that was trained on ADE20K (150 classes)"
        )
    _log.warning(
        "%s: %d of its labels are no names of ADE20K classes (%s); taken by their position",
        name, len(strange), ", ".join(map(repr, strange[:_SHOWN])),
    )  # fmt: skip
    return positions


def _positions(labels: Sequence[str]) -> tuple[int, ...] | None:
    classes = len(load_labels(_OBJECTS))
    if len(labels) == classes:
        return tuple(range(1, classes + 1))
    if len(labels) == classes + 1 and _class_id(labels[0]) == 0:
        return tuple(range(classes + 1))
    return None


def _class_id(label: str) -> int | None:
    """The class that a label names, 0 for none of them, None where that cannot be told."""
    parts = [part for part in map(_plain, label.split(",")) if part]
    if parts and all(part in _NONE for part in parts):
        return 0
    names, synonyms = _names()
    for part in parts:
        if part in names:
            return names[part]
    for part in parts:
        if len(synonyms.get(part, ())) == 1:
            return next(iter(synonyms[part]))
    return None


@lru_cache(maxsize=1)
def _names() -> tuple[dict[str, int], dict[str, set[int]]]:
    """The class of each first name, and the classes of each other name."""
    objects = load_labels(_OBJECTS)
    names = {_plain(label): number for number, label in enumerate(objects.names, start=objects.first_id)}
    path = Path(config.labels.__file__).with_name(_SYNONYMS)
    synonyms: dict[str, set[int]] = {}
    for label, others in parse_yaml(path.read_text(encoding="utf-8"), path.name).items():
        for other in others:
            synonyms.setdefault(_plain(other), set()).add(names[_plain(label)])
    return names, synonyms


def _plain(label: str) -> str:
    return " ".join(re.split(r"[\s_-]+", label.strip().lower()))


def _few(strange: Sequence[str], classes: Sequence[int]) -> str:
    if strange:
        return f"among them {', '.join(map(repr, strange[:_SHOWN]))}"
    twice = sorted({number for number in classes if classes.count(number) > 1})
    objects = load_labels(_OBJECTS)
    return f"and names {', '.join(objects.name_of(n) for n in twice[:_SHOWN])} more than once" if twice else "no class"
