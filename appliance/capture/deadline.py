"""A time limit for a whole HTTP exchange: httpx limits only how long the next byte may take."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

CONNECTED = "connection.connect_tcp.complete"


class Deadline:
    """Ends connections when the time is over.

    Attributes:
        is_over: it was.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._lines: list[socket.socket] = []
        self._lock = threading.Lock()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Note a connection: what httpx takes as a request's extension `trace`."""
        if event == CONNECTED:
            # A second descriptor: TLS takes the first one away.
            line = info["return_value"].get_extra_info("socket").dup()
            with self._lock:
                self._lines.append(line)

    def end(self) -> None:
        """The time is over."""
        with self._lock:
            self.is_over = True
            for line in self._lines:
                with suppress(OSError):  # the other side has ended it
                    line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Nobody waits any more."""
        with self._lock:
            for line in self._lines:
                line.close()
            self._lines.clear()


@contextmanager
def deadline(limit_s: float) -> Iterator[Deadline]:
    """A deadline that begins now and holds until the block ends.

    Args:
        limit_s: for everything within the block.
    """
    made = Deadline()
    timer = threading.Timer(limit_s, made.end)
    timer.daemon = True
    timer.start()
    try:
        yield made
    finally:
        timer.cancel()
        made.close()
