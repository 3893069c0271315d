"""Which of ADE20K's scenes show one of the 18, which show none of them, and which cannot be told by their name.

`ade20k_scene_kinds.yaml` has each of the 1,055 names once: `known` by the scene that nearly every picture of that name
shows, `unknown` where hardly any picture shows one of the 18, `ignore` where a person could argue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config.errors import ConfigError
from config.labels import LabelList, load_labels
from config.yaml12 import parse_yaml

__all__ = ["SceneKinds", "load_scene_kinds", "parse_scene_kinds"]

_FILE = Path(__file__).with_name("ade20k_scene_kinds.yaml")
_KEYS = ("known", "unknown", "ignore")


@dataclass(frozen=True)
class SceneKinds:
    """A map of scene names.

    Attributes:
        known: the scene of the model that a name stands for.
        unknown: names whose pictures show none of the model's scenes.
        ignore: names that say neither; their pictures measure nothing.
    """

    known: Mapping[str, str] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()


def load_scene_kinds() -> SceneKinds:
    """The packaged map, from ADE20K's scene names to the 18 of scene18."""
    text = _FILE.read_text(encoding="utf-8")
    return parse_scene_kinds(text, _FILE.name, load_labels("ade20k_scenes"), load_labels("scene18"))


def parse_scene_kinds(text: str, origin: str, names: LabelList, scenes: LabelList) -> SceneKinds:
    """Read a map and check that it is whole.

    Args:
        text: YAML with the keys `known` (a map from scene to names), `unknown` and `ignore` (lists of names).
        origin: where it came from, to begin error messages.
        names: every one of them is in the map, once.
        scenes: what `known` may map to.

    Raises:
        ConfigError: another key, a scene or a name that does not exist, a name twice, or a name that is missing.
    """
    tree = parse_yaml(text, origin)
    if not isinstance(tree, dict) or set(tree) != set(_KEYS):
        raise ConfigError(f"{origin}: needs the keys {', '.join(_KEYS)} and no others")
    if not isinstance(tree["known"], dict):
        raise ConfigError(f"{origin}: known: a map from scene to names, not {tree['known']!r}")
    strange = sorted(str(scene) for scene in tree["known"] if scene not in scenes.names)
    if strange:
        raise ConfigError(f"{origin}: known: {', '.join(strange)} is no scene of {scenes.name!r}")
    by_scene = {scene: _names(listed, f"{origin}: known.{scene}") for scene, listed in tree["known"].items()}
    unknown, ignore = (_names(tree[key], f"{origin}: {key}") for key in ("unknown", "ignore"))
    _check_whole([*(name for listed in by_scene.values() for name in listed), *unknown, *ignore], origin, names)
    known = {name: scene for scene, listed in by_scene.items() for name in listed}
    return SceneKinds(known, frozenset(unknown), frozenset(ignore))


def _names(listed: Any, where: str) -> list[str]:
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ConfigError(f"{where}: a list of names, not {listed!r}")
    return listed


def _check_whole(listed: list[str], origin: str, names: LabelList) -> None:
    faults = {
        f"not in the list {names.name!r}": set(listed) - set(names.names),
        "more than once": {name for name, count in Counter(listed).items() if count > 1},
        "missing": set(names.names) - set(listed),
    }
    for fault, found in faults.items():
        if found:
            raise ConfigError(f"{origin}: {fault}: {', '.join(sorted(found))}")
