"""The publishers of this station, each with its own settings."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from loguru import logger

from appliance import publish
from appliance.errors import ApplianceError
from appliance.pipeline.sinks import CallbackSink
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
        """Begin, each by itself; once."""
        for name, each in self._made.items():
            _attempt(name, "start", each.start)

    def stop(self) -> None:
        """End, each by itself; idempotent."""
        for name, each in self._made.items():
            _attempt(name, "stop", each.stop)

    def sinks(self) -> list[CallbackSink]:
        """One for each publication; they hold no frames."""
        return [CallbackSink(name, each.publish) for name, each in self._made.items()]

    def troubles(self) -> Mapping[str, str]:
        """Why nothing is handed on now, by publisher; empty where it is."""
        return {name: _trouble_of(each) for name, each in self._made.items()}


def _attempt(name: str, what: str, call: Callable[[], None]) -> None:
    """What one publisher fails in, the others and the station do not."""
    try:
        call()
    except Exception:  # noqa: BLE001 - a plug-in's own; told, and the rest goes on
        logger.exception("publisher {}: cannot {}", name, what)


def _trouble_of(each: Publication) -> str:
    try:
        return each.trouble()
    except Exception as error:  # noqa: BLE001 - asked once a second, so it is told and not logged
        return f"it cannot tell how it is ({type(error).__name__})"


def section_of(settings: Settings, kind: type[Section] | None) -> Section | None:
    """The settings' section of this kind."""
    if kind is None:
        return None
    for name in type(settings).model_fields:
        if type(section := getattr(settings, name)) is kind:
            return section
    raise ApplianceError(f"{kind.__name__}: no such section of the settings")
