"""Rules in words, for `scene-streamer rules check`."""

from __future__ import annotations

from config.actions import ActionSettings
from config.rules import ANY, DAYS, ActiveSettings, Condition, Hours, RuleSettings
from streamer.rules.actions.webhook import origin


def in_words(rule: RuleSettings) -> str:
    """What a rule waits for, in one line, without its actions."""
    parts = [f"when {_condition(rule.when)}"]
    if rule.debounce_s > 0:
        parts.append(f"breaks of up to {rule.debounce_s:g} s do not count")
    if rule.cool_down_s > 0:
        parts.append(f"at most once in {rule.cool_down_s:g} s")
    if rule.active is not None:
        parts.append(_active(rule.active))
    parts.append("on every source" if rule.sources is None else f"on {_either(rule.sources)}")
    return ", ".join(parts)


def action_in_words(action: ActionSettings) -> str:
    """What an action does, in one line, without the secrets of a webhook's address."""
    if action.webhook is not None:
        hook = action.webhook
        return f"webhook: POST to {origin(hook.url)}, {hook.timeout_s:g} s an attempt, {hook.retries} retries"
    if action.command is not None:
        return f"command: {list(action.command.args)}, ended after {action.command.timeout_s:g} s"
    return "event on the bus"


def _condition(when: Condition) -> str:
    if when.change is not None:
        before = "any scene" if ANY in when.change.from_ else _either(when.change.from_)
        after = "any other" if ANY in when.change.to else _either(when.change.to)
        return f"the scene changes from {before} to {after}"
    if when.group is not None:
        what = f"{when.group.name} is at least {when.group.at_least:.0%} probable"
    elif when.scene is not None:
        what = f"the scene is {_either(when.scene)}"
    else:
        what = "the scene is unknown"
    return f"{what} for {when.for_s:g} s" if when.for_s > 0 else what


def _active(active: ActiveSettings) -> str:
    zone = "this computer's time" if active.time_zone is None else active.time_zone
    return f"only {' and '.join(map(_hours, active.hours))} ({zone})"


def _hours(hours: Hours) -> str:
    days = "every day" if set(hours.days) == set(DAYS) else " ".join(day for day in DAYS if day in hours.days)
    return f"{days} {hours.from_} to {hours.to}"


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(names)
