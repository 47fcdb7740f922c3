"""Ends engines that serve no more."""

from collections.abc import Callable

from typing_extensions import override

from appliance.engines import Engine
from appliance.threads import Worker

CLOSING_S = 1.0  # for so long it is waited for by those who would like it to be over


class Closing(Worker):
    """Ends one engine, in a thread of its own: that may take long, or never be over.

    Args:
        engine: gets nothing any more.
        on_error: gets what its end raises, in this thread.
        was_stuck: whether something kept it for too long.

    Attributes:
        was_stuck: as given.
    """

    def __init__(
        self, engine: Engine, on_error: Callable[[Exception], None], *, was_stuck: bool = False
    ) -> None:
        super().__init__("engine-closing")
        self.was_stuck = was_stuck
        self._engine = engine
        self._on_error = on_error

    @property
    def is_over(self) -> bool:
        """Whether the engine has ended."""
        return self.join(0)

    @override
    def _run(self) -> None:
        try:
            self._engine.close()
        except Exception as error:  # noqa: BLE001 - top of the thread: told, not swallowed
            self._on_error(error)
