"""Rules as they are written in settings: what is understood, and what a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.errors import ConfigError
from config.loader import load_settings
from config.rules import DAYS, RuleSettings

SECRET = "s3cret"


def rules(text: str) -> tuple[RuleSettings, ...]:
    return load_settings(None, [f"rules={text}"]).rules


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        rules(text)
    message = str(caught.value)
    assert message.startswith("--set: ") and "\n" not in message and "; rules" not in message
    assert SECRET not in message
    return message.removeprefix("--set: ")


def test_defaults_and_short_forms() -> None:
    (rule,) = rules("[{name: r, when: {scene: kitchen}, active: {hours: [{days: sat}]}, sources: cam1}]")
    assert (rule.when.scene, rule.when.for_s, rule.sources) == (("kitchen",), 0, ("cam1",))
    assert (rule.debounce_s, rule.cool_down_s) == (0, 0)
    assert [action.event is not None for action in rule.actions] == [True]
    assert rule.active is not None and rule.active.zone is None
    assert (rule.active.hours[0].days, rule.active.hours[0].end) == (("sat",), None)


def test_keys_that_are_words_of_python() -> None:
    text = "[{name: r, when: {change: {from: [a, b]}}, active: {hours: [{from: 22:00, to: 06:30}]}}]"
    (rule,) = rules(text)
    assert rule.when.change is not None and rule.active is not None
    assert (rule.when.change.from_, rule.when.change.to) == (("a", "b"), ("any",))
    (hours,) = rule.active.hours
    assert (str(hours.start), str(hours.end), hours.days) == ("22:00:00", "06:30:00", DAYS)


@pytest.mark.parametrize("action", ["event", "{event: {}}", "{event: null}"])
def test_an_event_has_nothing_to_set(action: str) -> None:
    (rule,) = rules(f"[{{name: r, when: {{unknown: true}}, actions: [{action}]}}]")
    assert rule.actions[0].event is not None


def test_rules_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("preset: webcam\nrules:\n  - name: r\n    when: {unknown: yes}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: rules\[0\]\.when\.unknown = 'yes': should be True"):
        load_settings(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "rules = 3: should be a list"),
        ("[3]", "rules[0] = 3: should be a group of keys (actions, active"),
        ("[{name: r}]", "'rules[0].when' is missing"),
        ("[{name: a b, when: {unknown: true}}]", "rules[0].name = 'a b': use 1 to 64 of the characters"),
        ("[{name: r, when: {unknown: true}}, {name: r, when: {unknown: true}}]", "rules: two rules are called 'r'"),
    ],
)
def test_a_faulty_list_says_what_and_where(text: str, message: str) -> None:
    assert complaint(text).startswith(message)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("{}", "rules[0].when: give exactly one of scene, change, unknown and group, not none"),
        ("{scene: a, unknown: true}", "rules[0].when: give exactly one of"),
        ("{unknown: false}", "rules[0].when.unknown = false: should be True"),
        ("{scene: []}", "rules[0].when.scene: at least one is needed"),
        ("{scene: a, fors: 3}", "unknown key 'rules[0].when.fors': did you mean 'rules[0].when.for_s'?"),
        ("{scene: a, for_s: -1}", "rules[0].when.for_s = -1: should be greater than or equal to 0"),
        ("{scene: a, for_s: .inf}", "rules[0].when.for_s = inf: should be a finite number"),
        ("{change: {to: a}, for_s: 1}", "rules[0].when: a change is a moment and takes no for_s"),
        ("{change: {from: a, to: a}}", "rules[0].when.change: from and to are both 'a'"),
        ("{change: {form: a}}", "unknown key 'rules[0].when.change.form': did you mean 'rules[0].when.change.from'?"),
        ("{group: indoor}", "rules[0].when.group = 'indoor': should be a group of keys (at_least, name)"),
        ("{group: {name: indoor}}", "'rules[0].when.group.at_least' is missing"),
        ("{group: {name: indoor, at_least: 80}}", "rules[0].when.group.at_least = 80: should be less than or equal"),
    ],
)
def test_a_faulty_condition_says_what_and_where(when: str, message: str) -> None:
    assert complaint(f"[{{name: r, when: {when}}}]").startswith(message)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("debounce_s: 1, when: {change: {}}", "rules[0]: a change is a moment and takes no debounce_s"),
        ("cool_down_s: -1", "rules[0].cool_down_s = -1"),
        ("active: []", "rules[0].active = []: should be a group of keys (hours, time_zone)"),
        ("active: {hours: []}", "rules[0].active.hours: at least one is needed"),
        ("active: {hours: [{}], time_zone: Berlin}", "rules[0].active.time_zone = 'Berlin': no such time zone"),
        ("active: {hours: [{}], time_zone: ../x}", "rules[0].active.time_zone = '../x': no such time zone"),
        ("active: {hours: [{days: [monday]}]}", "rules[0].active.hours[0].days[0] = 'monday': should be 'mon'"),
        ("active: {hours: [{from: 25:00}]}", "rules[0].active.hours[0].from = '25:00': a time of day lies"),
        ("active: {hours: [{to: 7:00}]}", "rules[0].active.hours[0].to = '7:00': a time of day is written as HH:MM"),
        ("active: {hours: [{from: 07:00, to: 07:00}]}", "rules[0].active.hours[0]: nothing lies between 07:00 and"),
        ("active: {hours: [{from: 24:00, to: 07:00}]}", "rules[0].active.hours[0]: nothing lies between 24:00 and"),
        ("active: {hours: [{form: 07:00}]}", "unknown key 'rules[0].active.hours[0].form': did you mean"),
    ],
)
def test_a_faulty_rule_says_what_and_where(keys: str, message: str) -> None:
    when = "" if "when" in keys else ", when: {unknown: true}"
    assert complaint(f"[{{name: r, {keys}{when}}}]").startswith(message)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("webhook", "'rules[0].actions[0].webhook.url' is missing"),
        ("webhok", "unknown key 'rules[0].actions[0].webhok': did you mean 'rules[0].actions[0].webhook'?"),
        ("{}", "rules[0].actions[0]: an action is one of event, webhook and command, not none"),
        (
            f"{{webhook: {{url: 'http://h', headers: {{a: {SECRET}}}}}, event: {{}}}}",
            "rules[0].actions[0]: an action is one of event, webhook and command, not event and webhook",
        ),
        (
            f"{{webhook: {{url: 'ftp://me:{SECRET}@h/{SECRET}?x={SECRET}'}}}}",
            "rules[0].actions[0].webhook.url = 'ftp://***@h/***': a webhook's address looks like https://host/path",
        ),
        ("{webhook: {url: 'file:///etc/passwd'}}", "rules[0].actions[0].webhook.url"),
        ("{webhook: {url: 'http://'}}", "rules[0].actions[0].webhook.url = 'http://'"),
        ("{webhook: {url: 'http://h:x'}}", "rules[0].actions[0].webhook.url = 'http://h:x'"),
        ("{webhook: {url: 'http://h', headers: {'a b': x}}}", "rules[0].actions[0].webhook.headers: 'a b' is no name"),
        ("{webhook: {url: 'http://h', retries: 11}}", "rules[0].actions[0].webhook.retries = 11"),
        ("{webhook: {url: 'http://h', timeout_s: 0}}", "rules[0].actions[0].webhook.timeout_s = 0"),
        ("{command: {args: rm -rf}}", "rules[0].actions[0].command.args = 'rm -rf': a list is needed"),
        ("{command: {args: []}}", "rules[0].actions[0].command.args: at least one is needed"),
        ("{command: {args: ['']}}", "rules[0].actions[0].command.args: the first is the program's name"),
        ("{command: {args: ['{scene}']}}", "rules[0].actions[0].command.args: the first is the program's name"),
        ("{command: {args: [x, '{sceen}']}}", "rules[0].actions[0].command.args: unknown placeholder {sceen}"),
        ('{command: {args: [x, "a\\0b"]}}', "rules[0].actions[0].command.args: an argument cannot hold a NUL"),
    ],
)
def test_a_faulty_action_says_what_and_where(action: str, message: str) -> None:
    assert complaint(f"[{{name: r, when: {{unknown: true}}, actions: [{action}]}}]").startswith(message)
