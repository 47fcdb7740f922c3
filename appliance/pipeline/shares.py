"""How the time of one engine is shared while cameras wait for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.pipeline.work import OTHERS, Urgency

ROUNDING_S = 1e-9


@dataclass(frozen=True, slots=True)
class Shares:
    """Of an engine's time, at most, while a camera's frame waits for it.

    Attributes:
        people: for pictures that people ask about.
        background: for batch, shadow and text together.
    """

    people: float = 0.2
    background: float = 0.2


class Account:
    """Of one engine's time, by urgency: a token bucket that holds nothing, and may owe.

    Work whose urgency owes nothing goes first, whether a camera waits or not. It is charged: its
    urgency owes its duration afterwards, and the time of all others pays that back, in the
    proportion of the share. So an urgency has at most its share and one piece of work of any
    stretch of time in which cameras wait, and always has its turn. Work whose urgency owes
    something goes where no camera waits, and is free.

    Args:
        shares: of people and the background.

    Attributes:
        spent_s: engine time since the start, by urgency.
    """

    def __init__(self, shares: Shares) -> None:
        of: Mapping[Urgency, float] = {
            Urgency.PEOPLE: shares.people,
            Urgency.BACKGROUND: shares.background,
        }
        self._paid_by_others = {urgency: share / (1 - share) for urgency, share in of.items()}
        self._owed_s = dict.fromkeys(OTHERS, 0.0)
        self._at_work: set[Urgency] = set()  # charged work whose duration is not known yet
        self.spent_s = dict.fromkeys(Urgency, 0.0)

    def is_due(self, urgency: Urgency) -> bool:
        """Whether work may go before a waiting camera."""
        return urgency not in self._at_work and self._owed_s[urgency] <= ROUNDING_S

    def begin(self, urgency: Urgency) -> None:
        """Charged work goes into the engine."""
        self._at_work.add(urgency)

    def end(self, urgency: Urgency, duration_s: float, *, is_charged: bool) -> None:
        """Work is over, well or not, after so much engine time."""
        self.spent_s[urgency] += duration_s
        if is_charged:
            self._at_work.discard(urgency)
            self._owed_s[urgency] += duration_s
        for other in OTHERS:
            if other is not urgency:
                self._owed_s[other] -= self._paid_by_others[other] * duration_s
            if other not in self._at_work:  # what is at work will owe more
                self._owed_s[other] = max(0.0, self._owed_s[other])
