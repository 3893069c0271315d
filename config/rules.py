"""Settings of rules: when what happens (`docs/rules.md`). Durations are seconds of the stream, never frames."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator, model_validator

from config.actions import ActionSettings
from config.section import NOT_EMPTY, NotNegative, Section, Share

ANY = "any"
"""Stands for every scene in a rule of a change."""

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
_MIDNIGHT = "24:00"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def _as_list(value: Any) -> Any:
    """A single text as a list of one."""
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list), NOT_EMPTY]
"""One name or a list of names."""


class ChangeSettings(Section):
    """A change of the scene from one to another; `any` is every scene."""

    from_: Names = Field((ANY,), alias="from")
    to: Names = (ANY,)

    @model_validator(mode="after")
    def _can_happen(self) -> Self:
        if self.from_ == self.to and len(self.to) == 1 and self.to != (ANY,):
            raise ValueError(f"from and to are both {self.to[0]!r}, and that is no change")
        return self


class GroupSettings(Section):
    """A group of scenes that is probable enough."""

    name: str = Field(description="as in the model: indoor, outdoor...")
    at_least: Share = Field(description="smoothed probability of the group")


class Condition(Section):
    """When a rule fires: exactly one of `scene`, `change`, `unknown` and `group`."""

    scene: Names | None = Field(None, description="the stable scene is this one, or one of these")
    change: ChangeSettings | None = None
    unknown: Literal[True] | None = Field(None, description="no scene is to be believed")
    group: GroupSettings | None = None
    for_s: NotNegative = Field(0.0, description="how long it must hold; a change takes none")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [key for key in ("scene", "change", "unknown", "group") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of scene, change, unknown and group, not {' and '.join(given) or 'none'}"
            )
        if self.change is not None and self.for_s > 0:
            raise ValueError("a change is a moment and takes no for_s; for what comes after it, use scene with for_s")
        return self


class Hours(Section):
    """From when to when on which days; past midnight where `to` is earlier than `from`, and then of the day before."""

    days: Annotated[tuple[Day, ...], BeforeValidator(_as_list), NOT_EMPTY] = DAYS
    from_: str = Field("00:00", alias="from", description="HH:MM")
    to: str = Field(_MIDNIGHT, description="HH:MM, up to 24:00; this minute is not in it any more")

    @field_validator("from_", "to")
    @classmethod
    def _clock_time(cls, value: str) -> str:
        if value != _MIDNIGHT:
            _clock(value)
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.from_ in (self.to, _MIDNIGHT):
            raise ValueError(f"nothing lies between {self.from_} and {self.to}; a whole day is 00:00 to 24:00")
        return self

    @property
    def start(self) -> time:
        """The first minute."""
        return _clock(self.from_)

    @property
    def end(self) -> time | None:
        """The first minute after it; None: midnight at the day's end."""
        return None if self.to == _MIDNIGHT else _clock(self.to)


class ActiveSettings(Section):
    """When a rule is awake, by the wall clock."""

    hours: Annotated[tuple[Hours, ...], NOT_EMPTY]
    time_zone: str | None = Field(None, description="as Europe/Berlin; default: this computer's")

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        try:
            return value if value is None else ZoneInfo(value).key
        except (KeyError, ValueError, OSError):
            raise ValueError(
                "no such time zone on this computer; one looks like Europe/Berlin (package tzdata has all)"
            ) from None

    @property
    def zone(self) -> ZoneInfo | None:
        """The time zone; None: this computer's."""
        return None if self.time_zone is None else ZoneInfo(self.time_zone)


class RuleSettings(Section):
    """One rule: under which condition what is done."""

    name: str = Field(description="of its own")
    when: Condition
    sources: Names | None = Field(None, description="names of sources; default: all")
    active: ActiveSettings | None = Field(None, description="hours; default: always")
    debounce_s: NotNegative = Field(0.0, description="how long the condition may be broken without starting afresh")
    cool_down_s: NotNegative = Field(0.0, description="least time between two firings on a source")
    actions: Annotated[tuple[ActionSettings, ...], NOT_EMPTY] = (ActionSettings.of_event(),)

    @field_validator("name")
    @classmethod
    def _printable(cls, value: str) -> str:
        if _NAME.fullmatch(value) is None:
            raise ValueError("use 1 to 64 of the characters A-Z a-z 0-9 _ . -")
        return value

    @model_validator(mode="after")
    def _fits_the_condition(self) -> Self:
        if self.when.change is not None and self.debounce_s > 0:
            raise ValueError("a change is a moment and takes no debounce_s")
        return self


def _clock(text: str) -> time:
    """ "22:00" as a time."""
    hour, colon, minute = text.partition(":")
    if not (colon and len(hour) == len(minute) == 2 and (hour + minute).isdecimal()):
        raise ValueError("a time of day is written as HH:MM")
    try:
        return time(int(hour), int(minute))
    except ValueError:
        raise ValueError("a time of day lies between 00:00 and 24:00") from None
