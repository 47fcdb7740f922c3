"""The places of viewers: everybody gets one while somebody else has two.

There are so many for all together. Nobody is refused because one person has taken them all: a
newcomer then gets the one that was taken last by whoever has most.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Seat:
    holder: str
    lose: Callable[[], None]


class Seats:
    """Used from the event loop only, but for `count`.

    Args:
        limit: how many there are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: list[_Seat] = []

    def count(self) -> int:
        """Taken ones; may be asked from any thread."""
        return len(self._taken)

    @contextmanager
    def taken(self, holder: str, lose: Callable[[], None]) -> Iterator[bool]:
        """A seat until the block ends, or until it is lost; gives whether there was one.

        Args:
            holder: for whom: all seats of a person, or of a token, are one holder's.
            lose: is called once where somebody else gets this seat; it ends the watching.
        """
        if len(self._taken) >= self._limit and not self._make_room(holder):
            yield False
            return
        seat = _Seat(holder, lose)
        self._taken.append(seat)
        try:
            yield True
        finally:
            if seat in self._taken:
                self._taken.remove(seat)

    def _make_room(self, holder: str) -> bool:
        """Take a seat from whoever has most, if even then they have no fewer than `holder`."""
        counts = Counter(seat.holder for seat in self._taken)
        ((most, count),) = counts.most_common(1)
        if count < counts[holder] + 2:
            return False
        lost = next(seat for seat in reversed(self._taken) if seat.holder == most)
        self._taken.remove(lost)
        lost.lose()
        return True
