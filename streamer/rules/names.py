"""Whether the names in rules exist: scenes and groups of the model, sources of the run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from config.labels import UnknownLabelError
from config.rules import ANY, RuleSettings
from models.package import ModelPackage
from streamer.errors import ConfigError


def check_model(rules: Sequence[RuleSettings], package: ModelPackage) -> None:
    """Make sure that the model can name what the rules wait for.

    Raises:
        UnknownLabelError: a scene or a group that the model does not have; the message lists those that it has.
    """
    model = package.manifest.name
    for rule in rules:
        _check(rule, "scene", _scenes(rule), package.labels, f"model {model!r}")
        if rule.when.group is not None:
            _check(rule, "group", [rule.when.group.name], list(package.manifest.groups), f"model {model!r}")


def check_sources(rules: Sequence[RuleSettings], sources: Sequence[str]) -> None:
    """Make sure that the sources that the rules name are part of the run.

    Raises:
        ConfigError: one is not; the message lists those that are.
    """
    for rule in rules:
        for name in rule.sources or ():
            if name not in sources:
                raise ConfigError(f"rule {rule.name!r}: no source is called {name!r}; of this run: {_list(sources)}")


def _scenes(rule: RuleSettings) -> list[str]:
    when = rule.when
    change = () if when.change is None else (*when.change.from_, *when.change.to)
    return [name for name in (*(when.scene or ()), *change) if name != ANY or when.change is None]


def _check(rule: RuleSettings, what: str, names: Iterable[str], known: Sequence[str], whose: str) -> None:
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise UnknownLabelError(f"rule {rule.name!r}: {whose} has no {what} {name!r}; {hint}known: {_list(known)}")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
