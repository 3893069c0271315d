"""Action `webhook`: a POST of the event as JSON, tried again where that may help.

Only addresses of http and https, and no redirect is followed: what an address and its headers hold is for that host
alone. Of the answer the status counts and nothing is read. Logs name scheme and host; the rest may be a secret.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from config.actions import VARIABLE, WebhookSettings, check_url
from streamer.encoding import encode
from streamer.errors import ActionError, ConfigError
from streamer.rules.actions.base import Action, Occasion

if TYPE_CHECKING:
    import httpx

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
# Besides all of 500 and above: timeout, too early, too many requests (RFC 9110, 15.5; RFC 8470, 5.2; RFC 6585, 4).
_PASSING = frozenset({408, 425, 429})


class Webhook(Action):
    """POSTs the event to an address.

    At worst it takes (retries + 1) × timeout_s and the waits in between: 0.5 s, 1 s, 2 s... up to 30 s each.

    Args:
        settings: address, headers, patience.
        environment: the variables that address and headers may name.
        client: makes the client on first use, or gives the one that is there.

    Raises:
        ConfigError: a variable is not set, or what it holds makes no address or header.
    """

    def __init__(
        self, settings: WebhookSettings, environment: Mapping[str, str], client: Callable[[], httpx.AsyncClient]
    ) -> None:
        self._settings = settings
        self._url = _filled("the address", settings.url, environment)
        self._headers = {name: _filled(name, value, environment).strip() for name, value in settings.headers.items()}
        self._client = client
        try:
            check_url(self._url)
        except ValueError as error:
            raise ConfigError(f"{error}, and with its variables filled in this one does not") from None

    @property
    def title(self) -> str:
        """See `Action.title`."""
        return f"webhook to {origin(self._url)}"

    async def perform(self, occasion: Occasion) -> None:
        """See `Action.perform`."""
        content = encode(occasion.body, "json")
        for attempt in range(self._settings.retries):
            try:
                await self._post(content)
                return
            except _PassingError:
                await asyncio.sleep(min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S))
        await self._post(content)

    async def _post(self, content: bytes) -> None:
        """One attempt.

        Raises:
            _PassingError: another attempt may go better.
            ActionError: none will.
        """
        import httpx

        headers = {"Content-Type": "application/json", **self._headers}
        try:
            async with (
                asyncio.timeout(self._settings.timeout_s),
                self._client().stream("POST", self._url, content=content, headers=headers) as response,
            ):
                status, location = response.status_code, response.headers.get("Location", "")
        except (TimeoutError, httpx.TimeoutException):
            raise _PassingError(f"no answer within {self._settings.timeout_s:g} s") from None
        except httpx.ConnectError as error:
            raise _PassingError(f"no connection: {error}") from None
        except httpx.TransportError as error:  # what others say may quote a header
            raise _PassingError(f"the connection broke ({type(error).__name__})") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ActionError(f"no request can be made ({type(error).__name__})") from None
        if status >= 500 or status in _PASSING:
            raise _PassingError(f"the server answered {status}")
        if 300 <= status < 400:
            where = f" to {origin(location)}" if location else ""
            raise ActionError(f"the server redirects{where} ({status}); put the new address into the rule")
        if status >= 400:
            raise ActionError(f"the server answered {status}")


class _PassingError(ActionError):
    """A failure that may pass by itself."""


def new_client() -> httpx.AsyncClient:
    """A client for all webhooks of a run; close it. Each request brings its own limit of time."""
    import httpx

    # At level INFO it logs whole addresses.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return httpx.AsyncClient(timeout=None, follow_redirects=False)


def origin(url: str) -> str:
    """Scheme, host and port of an address, the part of it that is no secret; of one in a variable, the variable."""
    if variable := VARIABLE.match(url):
        return variable[0]
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return "another address"
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else "another path"


def _filled(what: str, text: str, environment: Mapping[str, str]) -> str:
    """`text` with the variables that it names; printable ASCII, as HTTP wants it."""
    for name in VARIABLE.findall(text):
        if name not in environment:
            raise ConfigError(f"{what} of a webhook needs the environment variable {name}, which is not set")
    filled = VARIABLE.sub(lambda match: environment[match[1]], text)
    if not (filled.isascii() and filled.isprintable()):
        raise ConfigError(f"{what} of a webhook holds a line break or another character that HTTP does not carry there")
    return filled
