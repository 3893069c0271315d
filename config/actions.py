"""Settings of what a rule does: an event on the bus, a webhook, a command."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from config.section import NOT_EMPTY, Positive, Section

PLACEHOLDERS = ("rule", "scene", "source")
"""What may stand in braces in a command's arguments."""

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""`${NAME}` in a webhook's address and headers: a variable of the environment."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token of RFC 9110, 5.6.2


class EventSettings(Section):
    """An event on the bus; there is nothing to set."""


class WebhookSettings(Section):
    """A POST of the event's body as JSON."""

    url: str = Field(description="http or https; ${NAME} is a variable of the environment")
    timeout_s: Annotated[Positive, Field(le=60)] = Field(5.0, description="of one attempt")
    retries: Annotated[int, Field(ge=0, le=10)] = Field(3, description="further attempts after a failure")
    headers: dict[str, str] = Field(default_factory=dict, description="${NAME} is a variable of the environment")

    @field_validator("url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if VARIABLE.match(value) is None:  # else only the environment tells
            check_url(VARIABLE.sub("x", value))
        return value

    @field_validator("headers")
    @classmethod
    def _header_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if _HEADER_NAME.fullmatch(name) is None:
                raise ValueError(f"{name!r} is no name of a header")
        return value


class CommandSettings(Section):
    """A program with its arguments; no shell sees them."""

    args: Annotated[tuple[str, ...], NOT_EMPTY] = Field(description="the program, then its arguments")
    timeout_s: Annotated[Positive, Field(le=3600)] = Field(10.0, description="then it is ended")

    @field_validator("args", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError("a list is needed, the program first: no shell splits a line into arguments")
        return value

    @field_validator("args")
    @classmethod
    def _known_placeholders(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value[0].strip() or PLACEHOLDER.search(value[0]):
            raise ValueError("the first is the program's name, without placeholders")
        if any("\0" in argument for argument in value):
            raise ValueError("an argument cannot hold a NUL character")
        used = {name for argument in value for name in PLACEHOLDER.findall(argument)}
        if unknown := sorted(used - set(PLACEHOLDERS)):
            raise ValueError(f"unknown placeholder {{{unknown[0]}}}; known: {{{'}, {'.join(PLACEHOLDERS)}}}")
        return value


class ActionSettings(Section):
    """Exactly one of the three; the plain word `event` is an event without settings."""

    event: EventSettings | None = None
    webhook: WebhookSettings | None = None
    command: CommandSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            return {key: {} if settings is None and len(value) == 1 else settings for key, settings in value.items()}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [key for key in ("event", "webhook", "command") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"an action is one of event, webhook and command, not {' and '.join(given) or 'none'}")
        return self

    @classmethod
    def of_event(cls) -> Self:
        """An event on the bus."""
        return cls(event=EventSettings())


def check_url(url: str) -> None:
    """Raise ValueError unless `url` is http or https with a host; what it says holds nothing of the address."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("a webhook's address looks like https://host/path")
