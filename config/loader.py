"""Reads settings: defaults of the schema, then a preset or a file, then `--set a.b=c`; the later wins.

Groups merge key by key. A plug-in of another kind takes none of the former one's parameters with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from config.errors import ConfigError
from config.faults import describe
from config.schema import PluginChoice, Settings
from config.yaml12 import parse_yaml

__all__ = ["load_settings", "presets"]

_PRESETS = Path(__file__).parent / "presets"
_PRESET_KEY = "preset"

Values = dict[str, Any]


def load_settings(config: str | Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Settings from a preset or a file, and from single keys.

    Args:
        config: the name of a preset, or a YAML file, which may begin from a preset with `preset: rtsp`; None for the
            defaults. A file that is called like a preset is written with a folder: `./rtsp`.
        overrides: `a.b=c` each; `c` is a YAML value, so lists and mappings work, and `null` empties.

    Raises:
        ConfigError: a missing or faulty file, an unknown key, a value it cannot have; one line that says where.
    """
    values = Settings().model_dump()
    for origin, layer in _layers(config):
        values = _merged(values, layer, Settings)
        _validated(values, origin)
    changes: Values = {}
    for override in overrides:
        changes = _merged(changes, _override(override, values, changes), Settings)
    return _validated(_merged(values, changes, Settings), "--set")


def presets() -> list[str]:
    """Names of the presets that come with Scene Streamer, sorted."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def _layers(config: str | Path | None) -> list[tuple[str, Values]]:
    """What a config stands for, as (where from, values), the lower layer first."""
    if config is None:
        return []
    if isinstance(config, str) and config in presets():
        return [_preset(config)]
    path = Path(config)
    values = _read(path)
    if _PRESET_KEY not in values:
        return [(str(path), values)]
    name = values.pop(_PRESET_KEY)
    if name not in presets():
        raise ConfigError(f"{path}: unknown preset {name!r}; known: {', '.join(presets())}")
    return [_preset(name), (str(path), values)]


def _preset(name: str) -> tuple[str, Values]:
    return f"preset {name}", _read(_PRESETS / f"{name}.yaml")


def _read(path: Path) -> Values:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        known = ", ".join(presets())
        raise ConfigError(f"{str(path)!r} is neither a file nor a preset; presets: {known}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read the settings in {str(path)!r}: {reason}") from error
    values = parse_yaml(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: settings are a mapping (`key: value` lines), not a {type(values).__name__}")
    return values


def _override(text: str, base: Values, changes: Values) -> Values:
    """The nested mapping that `a.b=c` stands for.

    Args:
        text: what followed `--set`.
        base: the values below, to see which keys are groups.
        changes: what former overrides set.
    """
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set {text}: write it as KEY=VALUE, for example capture.policy=latest")
    for number in range(1, len(parts)):
        found = _at(changes, parts[:number], _at(base, parts[:number], {}))
        if not isinstance(found, Mapping):
            group = ".".join(parts[:number])
            raise ConfigError(f"--set {text}: {group} is a value ({found!r}) and has no keys")
    values: Any = parse_yaml(value, f"--set {key}")
    for part in reversed(parts):
        values = {part: values}
    return dict(values)


def _at(values: Any, path: Iterable[str], default: Any) -> Any:
    """The value at a key path, `default` where there is none."""
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return default
        values = values[part]
    return values


def _merged(lower: Values, upper: Mapping[Any, Any], model: type[BaseModel] | None) -> Values:
    """`lower` with the keys of `upper` over it; `model` is the group's schema, None below the schema."""
    result = dict(lower)
    for key, value in upper.items():
        group = _group(model, key)
        below = result.get(key)
        value = _written_out(value, group)
        if isinstance(value, Mapping) and isinstance(below, dict):
            result[key] = _merged(_compatible(below, value, group), value, group)
        else:
            result[key] = value
    return result


def _group(model: type[BaseModel] | None, key: Any) -> type[BaseModel] | None:
    """The schema of the group at `key`, None where the schema has a plain value or nothing."""
    field = model.model_fields.get(key) if model is not None and isinstance(key, str) else None
    annotation = field.annotation if field is not None else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _written_out(value: Any, group: type[BaseModel] | None) -> Any:
    """A group as a mapping, where it was written as a plain text (`smoother: median`) or has no keys at all."""
    if group is not None and value is None:
        return {}
    if group is None or not isinstance(value, str):
        return value
    try:
        return group.model_validate(value).model_dump(exclude_unset=True)
    except ValidationError:
        return value  # the whole is validated later, with a better message


def _compatible(below: Values, above: Mapping[Any, Any], group: type[BaseModel] | None) -> Values:
    """What of `below` is still meant: a plug-in of another kind has other parameters."""
    is_plugin = group is not None and issubclass(group, PluginChoice)
    if is_plugin and "kind" in below and above.get("kind", below["kind"]) != below["kind"]:
        return {}
    return below


def _validated(values: Values, origin: str) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {describe(error, Settings)}") from error
