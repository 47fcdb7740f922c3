"""Hands what the station sees and says on to other systems.

A publisher is one module with a constant PUBLISHER: it names its section of the settings and makes
the part that hands on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from appliance import publish
from appliance.predictions import Result
from appliance.readings import StationReading
from appliance.registry import plugins
from appliance.settings.fields import Section


class Publication(Protocol):
    """A publisher at work.

    What takes long, as a network does, is the work of a thread of its own with a bounded mailbox:
    a receiver that is away holds up nobody, and costs no more than what finds no room.
    """

    def start(self) -> None:
        """Begin; once. Does not wait for a receiver, and does not fail where there is none."""

    def publish(self, result: Result) -> None:
        """Hand a result on; from one thread, at any time, and without blocking."""

    def stop(self) -> None:
        """End within a second; idempotent, and harmless before the start."""

    def trouble(self) -> str:
        """Why nothing is handed on now, a sentence without a full stop; empty while all is well."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a publisher may know of the station.

    Attributes:
        read: the station's reading now; asks the disk and /proc.
        version: of the appliance.
    """

    read: Callable[[], StationReading]
    version: str


@dataclass(frozen=True, slots=True)
class Publisher:
    """A kind of publication.

    Attributes:
        name: the module's; people read it in metrics and in the log.
        section: its settings, one section of the tree; None where it needs none.
        make: from its section and the outlook to a publication; opens nothing.
    """

    name: str
    section: type[Section] | None
    make: Callable[[Any, Outlook], Publication]


@cache
def known() -> Mapping[str, Publisher]:
    """Every publisher that is there, by name."""
    return plugins(publish, "PUBLISHER", Publisher)
