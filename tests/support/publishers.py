"""A publisher that keeps what it is told: the fake at the contract of `appliance.publish`."""

from appliance.predictions import Result
from appliance.publish import Outlook, Publisher
from appliance.settings.fields import Section, setting


class Kept(Section):
    """What is kept."""

    room: int = setting(10, "Results that are kept; the oldest go first.", example="100", ge=1)


class Keeper:
    """A publication into a list.

    Args:
        section: how many are kept.
        outlook: what it may know of the station.

    Attributes:
        results: the last ones.
        is_at_work: between `start` and `stop`.
        refusal: why nothing is kept; empty while it is.
    """

    def __init__(self, section: Kept, outlook: Outlook) -> None:
        self.outlook = outlook
        self.results: list[Result] = []
        self.is_at_work = False
        self.refusal = ""
        self._room = section.room

    def start(self) -> None:
        """Begin."""
        self.is_at_work = True

    def publish(self, result: Result) -> None:
        """Keep it."""
        self.results = [*self.results, result][-self._room :]

    def stop(self) -> None:
        """End."""
        self.is_at_work = False

    def trouble(self) -> str:
        """As it was set."""
        return self.refusal


PUBLISHER = Publisher("publishers", Kept, Keeper)
