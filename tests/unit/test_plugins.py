from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from config.errors import ConfigError, UnknownPluginError, UserError
from config.plugins import MissingLibraryError, PluginParams, Registry, describe

GOOD = """
from config.plugins import PluginParams

class Params(PluginParams):
    half_life_s: float = 1.0

def build(params, *, fps=0):
    return (params.half_life_s, fps)
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    folder = tmp_path / "kitchenware"
    folder.mkdir()
    files = {
        "__init__": "",
        "base": "raise RuntimeError('shared code is no plug-in')",
        "_hidden": "raise RuntimeError('private')",
        "good": GOOD,
        "hungry": "import library_that_nobody_has.part",
        "broken": "from config.errors import NoSuchName",
        "crashing": "raise RuntimeError('boom')",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Registry("pan", "kitchenware")
    for name in [name for name in sys.modules if name.partition(".")[0] == "kitchenware"]:
        del sys.modules[name]


def test_names_are_the_files_and_nothing_is_imported(registry: Registry) -> None:
    assert registry.names() == ["broken", "crashing", "good", "hungry"]
    assert "kitchenware.good" not in sys.modules


def test_only_the_requested_plugin_is_imported(registry: Registry) -> None:
    registry.load("good")
    assert not {"kitchenware.broken", "kitchenware.crashing", "kitchenware.hungry"} & set(sys.modules)


def test_an_unknown_name_gets_the_known_ones(registry: Registry) -> None:
    with pytest.raises(UnknownPluginError, match=r"unknown pan 'base'; known: broken, crashing, good, hungry"):
        registry.load("base")


def test_build_validates_and_passes_the_context(registry: Registry) -> None:
    assert registry.build("good", {"half_life_s": 2}, fps=25) == (2.0, 25)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"half_lif_s": 2}, r"pan 'good': unknown key 'half_lif_s': did you mean 'half_life_s'"),
        ({"half_life_s": "long"}, r"pan 'good': half_life_s = 'long': should be a valid number$"),
        ({1: 2}, r"unknown key '1'"),
    ],
)
def test_wrong_parameters_name_the_plugin_and_the_key(registry: Registry, values: dict[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        registry.params("good", values)


def test_a_missing_library_is_named(registry: Registry) -> None:
    with pytest.raises(MissingLibraryError, match="pan 'hungry' needs the library 'library_that_nobody_has'") as caught:
        registry.load("hungry")
    assert isinstance(caught.value, UserError)
    assert isinstance(caught.value, ImportError)


def test_a_broken_plugin_fails_loudly(registry: Registry) -> None:
    with pytest.raises(ImportError, match="NoSuchName"):
        registry.load("broken")
    with pytest.raises(RuntimeError, match="boom"):
        registry.load("crashing")


def test_parameters_never_change() -> None:
    class Params(PluginParams):
        x: int = 1

    with pytest.raises(ValidationError, match="frozen"):
        Params().x = 2  # type: ignore[misc]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Left(Strict):
    x: int = 1


class Right(Strict):
    y: int = 1

    @field_validator("y")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("an even number, please")
        return value


class Root(Strict):
    name: str
    number: int | list[int] = 1
    many: list[Left] = []
    either: Left | Right = Left()
    table: dict[str, Left] = {}
    pair: tuple[int, int] = (1, 2)
    side: Left | str = ""
    right: Right = Right()
    switch: bool = True


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"nam": "a"}, "'name' is missing: it has no default; unknown key 'nam': did you mean 'name'? known here: "),
        ({"name": None}, "name = null: should be a valid string"),
        ({"name": "a", "number": "x"}, "number = 'x': should be a valid integer, or should be a valid list"),
        ({"name": "a", "many": [{}, {"z": 2}]}, "unknown key 'many[1].z': known here: x"),
        ({"name": "a", "many": [{"x": True}, {"x": "p"}]}, "many[1].x = 'p': should be a valid integer"),
        ({"name": "a", "many": 3}, "many = 3: should be a valid list"),
        ({"name": "a", "either": {"z": 1}}, "unknown key 'either.z': known here: x, y"),
        ({"name": "a", "table": {"k": {"xx": 1}}}, "unknown key 'table.k.xx': did you mean 'table.k.x'"),
        ({"name": "a", "pair": [1, "b"]}, "pair[1] = 'b': should be a valid integer"),
        ({"name": "a", "side": 4}, "side = 4: should be a group of keys (x), or should be a valid string"),
        ({"name": "a", "right": {"y": 3}}, "right.y = 3: an even number, please"),
        ({"name": "a", "y": 3}, "unknown key 'y': did you mean 'either.y' or 'right.y'?"),
        ({"name": "a", "switch": []}, "switch = []: should be a valid boolean"),
        ([1], "value = [1]: should be a group of keys (either, "),
    ],
)
def test_one_line_says_what_and_where(values: object, line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Root.model_validate(values)
    described = describe(caught.value, Root)
    assert described.startswith(line)
    assert "\n" not in described


def test_long_values_are_shortened_and_credentials_hidden() -> None:
    with pytest.raises(ValidationError) as caught:
        Root.model_validate({"name": ["rtsp://user:secret@camera/1" + "x" * 500]})
    described = describe(caught.value, Root)
    assert "secret" not in described
    assert len(described) < 200
