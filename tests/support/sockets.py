"""Whom a process calls, seen from outside."""

import threading
from contextlib import suppress
from pathlib import Path
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
        self._pid = pid
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="calls", daemon=True)
        self._known: set[str] = set()
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
            with suppress(OSError, psutil.Error):  # a child has ended meanwhile
                for pid in family_of(self._pid):
                    self._look_at(pid)
                self.looks += 1

    def _look_at(self, pid: int) -> None:
        """To ask for connections takes the kernel 8 ms: only of sockets that may be new ones."""
        sockets = sockets_of(pid)
        if set(sockets.values()) <= self._known:
            return
        self._known |= unix_sockets(pid)
        for one in psutil.Process(pid).net_connections("inet"):
            if one.raddr and one.laddr.port != self._port:
                self.made.add(f"{one.raddr.ip}:{one.raddr.port}")
            if one.fd in sockets and (one.raddr or one.status == psutil.CONN_LISTEN):
                self._known.add(sockets[one.fd])


def family_of(pid: int) -> list[int]:
    """The process, its children and theirs, without a look at all others of the machine."""
    family = [pid]
    for one in family:
        for thread in Path(f"/proc/{one}/task").iterdir():
            with suppress(OSError):  # the thread has ended meanwhile
                family += map(int, (thread / "children").read_text().split())
    return family


def sockets_of(pid: int) -> dict[int, str]:
    """The numbers by which the kernel knows the sockets of a process, by descriptor."""
    found = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            kind, _, number = str(descriptor.readlink()).partition(":[")
            if kind == "socket":
                found[int(descriptor.name)] = number.rstrip("]")
    return found


def unix_sockets(pid: int) -> set[str]:
    """Those numbers that call nobody outside: no address of a network is ever theirs."""
    lines = Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]
    return {line.split()[6] for line in lines}
