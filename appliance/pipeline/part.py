"""A part of the pipeline with one thread of its own."""

import threading
from abc import ABC, abstractmethod


class Part(ABC):
    """Starts once, is asked to end, and ends; the work is in `_run`, which heeds `_stop`.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end soon; idempotent, and harmless before the start."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if it did not come in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @abstractmethod
    def _run(self) -> None:
        """The thread's work, until `_stop` is set."""
