"""Whom a process calls, seen from outside."""

import threading
from types import TracebackType
from typing import Self

import psutil

LOOK_S = 0.02


class Calls:
    """Collects the connections that a process and its children have made, until the block ends.

    It looks again and again, so a connection that lives for less than `LOOK_S` may be missed;
    one that waits for an answer is not.

    Args:
        pid: of the process.
        port: of its own, to which others connect.

    Attributes:
        made: "address:port" of everything that was called.
        looks: how often it has looked.
    """

    def __init__(self, pid: int, port: int) -> None:
        self._process = psutil.Process(pid)
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="calls", daemon=True)
        self.made: set[str] = set()
        self.looks = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in family:
                self._look_at(process)
            self.looks += 1

    def _look_at(self, process: psutil.Process) -> None:
        try:
            found = process.net_connections("inet")
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended meanwhile
            return
        self.made |= {
            f"{one.raddr.ip}:{one.raddr.port}"
            for one in found
            if one.raddr and one.laddr.port != self._port
        }
