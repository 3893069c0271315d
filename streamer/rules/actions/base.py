"""What every action is: something that takes a while and may fail, done in the actions' own thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from streamer.encoding import Body


@dataclass(frozen=True, slots=True)
class Occasion:
    """What an action is done for.

    Attributes:
        body: the event (`docs/rules.md`), as on the bus.
        seconds: its frame's presentation time.
    """

    body: Body
    seconds: float


class Action(ABC):
    """A webhook or a command of one rule, ready to be done any number of times."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What it is in a log, without secrets ("webhook to https://host")."""

    @abstractmethod
    async def perform(self, occasion: Occasion) -> None:
        """Do it, within its own limits of time; leaves nothing behind, also when it is cancelled.

        Raises:
            ActionError: it failed for good; the message says why, without secrets.
        """
