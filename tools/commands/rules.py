"""`scene-streamer rules`: what happens when, checked and tried out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tools.commands import _options as options

if TYPE_CHECKING:
    from config.rules import RuleSettings
    from config.schema import Settings
    from streamer.rules.firing import Firing

rules = typer.Typer(help="Check rules, and try them out on recorded labels.", no_args_is_help=True)

_Config = Annotated[str, typer.Argument(metavar="CONFIG", help="YAML file with `rules`.")]


@rules.command("check")
def check(config: _Config, set_: options.Set = None, as_json: options.Json = False) -> None:
    """Check the rules of a file as a run would, and say them in words."""
    import json

    from streamer.rules.live import action_runner
    from streamer.rules.words import action_in_words, in_words

    settings = _settings_with_rules(config, set_)
    action_runner(settings.rules)  # variables and programs are there
    report = [
        {"name": rule.name, "words": in_words(rule), "actions": [action_in_words(action) for action in rule.actions]}
        for rule in settings.rules
    ]
    if as_json:
        typer.echo(json.dumps(report))
        return
    for entry in report:
        typer.echo(f"{entry['name']}: {entry['words']}")
        for action in entry["actions"]:
            typer.echo(f"    {action}")


@rules.command("test")
def test(
    config: _Config,
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="Written by `annotate` or by `watch`, .jsonl or .mcap.")
    ],
    set_: options.Set = None,
    as_json: options.Json = False,
) -> None:
    """Say what would have fired on recorded labels, and when; no action is done."""
    import json

    from tools.rule_trial import try_rules

    settings = _settings_with_rules(config, set_)
    trial = try_rules(settings.rules, labels)
    does = {rule.name: _kinds(rule) for rule in settings.rules}
    if as_json:
        firings = [_as_dict(firing, does[firing.rule]) for firing in trial.firings]
        typer.echo(json.dumps({"labels": trial.labels, "firings": firings}))
        return
    for firing in trial.firings:
        typer.echo(f"{firing.source}  {_clock(firing.sighting.seconds)}  {firing}  {', '.join(does[firing.rule])}")
    typer.echo(f"{trial.labels} labels, {len(trial.firings)} firings", err=True)


def _settings_with_rules(config: str, set_: list[str] | None) -> Settings:
    """Settings whose rules fit the model.

    Raises:
        ConfigError: faulty settings, or no rules in them.
        UnknownLabelError: a scene or a group that the model does not have.
    """
    from models.package import find_package
    from streamer.errors import ConfigError
    from streamer.rules.names import check_model

    settings = options.settings_from(config, set_)
    if not settings.rules:
        raise ConfigError(f"{config} has no rules; they stand under the key `rules`")
    check_model(settings.rules, find_package(settings.model.name))
    return settings


def _kinds(rule: RuleSettings) -> list[str]:
    return [
        kind for action in rule.actions for kind in ("event", "webhook", "command") if getattr(action, kind) is not None
    ]


def _as_dict(firing: Firing, actions: list[str]) -> dict[str, Any]:
    sighting = firing.sighting
    told = {key: value for key, value in firing.details().items() if value is not None}
    return {
        "source": firing.source,
        "time_s": round(sighting.seconds, 6),
        "epoch": sighting.epoch,
        "pts": sighting.pts,
        "time_base": [sighting.time_base.numerator, sighting.time_base.denominator],
        **told,
        "actions": actions,
    }


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes):02d}:{rest:06.3f}"
