"""How a vital loop shows that it makes progress."""

from collections.abc import Callable


class Heartbeat:
    """Ticked by one loop on every turn, idle ones too; read by the supervisor."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._last_ns = clock_ns()

    def tick(self) -> None:
        """The loop is alive."""
        self._last_ns = self._clock_ns()

    def age_s(self) -> float:
        """Seconds since the last tick."""
        return (self._clock_ns() - self._last_ns) / 1e9
