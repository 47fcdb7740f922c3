"""The publishers of this station, each with its own settings."""

from collections.abc import Mapping
from typing import TypeVar

from appliance import publish
from appliance.pipeline.sinks import Told
from appliance.publish import Outlook, Publication
from appliance.settings import Settings
from appliance.settings.fields import Section

P = TypeVar("P", bound=Publication)


class Publications:
    """Every publisher that is there, made.

    Args:
        settings: of the station.
        outlook: what they may know of it.
    """

    def __init__(self, settings: Settings, outlook: Outlook) -> None:
        self._made = {
            name: found.make(section_of(settings, found.section), outlook)
            for name, found in publish.known().items()
        }

    def the(self, kind: type[P]) -> P:
        """The publication of this kind, for whoever asks it instead of being told."""
        return next(each for each in self._made.values() if isinstance(each, kind))

    def start(self) -> None:
        """Begin; once."""
        for each in self._made.values():
            each.start()

    def stop(self) -> None:
        """End; idempotent."""
        for each in self._made.values():
            each.stop()

    def sinks(self) -> list[Told]:
        """One for each publication; they hold no frames."""
        return [Told(name, each.publish) for name, each in self._made.items()]

    def troubles(self) -> Mapping[str, str]:
        """Why nothing is handed on now, by publisher; empty where it is."""
        return {name: each.trouble() for name, each in self._made.items()}


def section_of(settings: Settings, kind: type[Section] | None) -> Section | None:
    """The settings' section of this kind."""
    if kind is None:
        return None
    sections = (getattr(settings, name) for name in type(settings).model_fields)
    return next(section for section in sections if type(section) is kind)
