"""The server's connections: a stranger can hold neither one nor all of them for long.

When there are as many as there may be, a newcomer takes the place of one that waits for a request:
of the address with most of these, the one that has waited longest.

The server itself waits for ever for the rest of a request's head, and for an answer to be read, and
takes connections until the process has no descriptor left for its cameras.
"""

import asyncio
import errno
import logging
import socket
from collections import Counter
from typing import Any

from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from appliance.resources import descriptors
from appliance.web.access.throttle import network_of

HEAD_S = 10.0  # for the whole head of a request to come
UNREAD_S = 20.0  # for what was sent to be taken
UNSENT_BYTES = 16 * 1024  # that the kernel takes beyond what is on its way
CONNECTIONS = 400  # all together; with the cameras' well below the usual 1024 descriptors
RESERVE = 128  # descriptors that a station with its cameras, files and engines has itself
FEWEST = 16  # where there are hardly any: people must be able to see why
TAKEN_AT_ONCE = 1  # that are taken before the next look at how many there are
WAITING = 2048  # in the kernel, to be taken

_NONE_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_log = logging.getLogger("connections")  # in logs.OUTSIDE: told once a minute, and counted


def most_connections() -> int:
    """As many as there may be at once, by the limit that holds for this process."""
    return min(CONNECTIONS, max(FEWEST, descriptors() - RESERVE))


def tell_errors_of(loop: asyncio.AbstractEventLoop) -> None:
    """Have it told in a line that no connection can be taken; asyncio tells it by a traceback."""

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _NONE_LEFT:
            _log.warning("no connection can be taken: %s", error.strerror)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(tell)


class Connection(H11Protocol):
    """One connection; closed where a request's head takes too long, or too many are open.

    Attributes:
        network: from where it comes.
    """

    network: str = ""
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    @staticmethod
    def most() -> int:
        """How many there may be at once, at this server."""
        return most_connections()

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Else each answer's body waits some 40 ms for the receipt of its head. Asyncio sees to it
        # only for sockets that name their protocol, which those of `create_server` do not.
        line = transport.get_extra_info("socket")
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Nor may seconds of live pictures pile up on their way to somebody who reads slowly.
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        transport.set_write_buffer_limits(high=0)
        self.network = network_of(self.client[0]) if self.client else "unknown"
        if len(self.connections) > self.most() and not self._make_room():
            self.drop()
            return
        self._watch()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    @override
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._watch()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_watching()
        self._stop_waiting()

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._stop_waiting()
        self._wait_for_reader()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting()

    def _wait_for_reader(self) -> None:
        """Until everything has left, as long as some of it does."""
        left = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(UNREAD_S, self._judge_reader, left)

    def _judge_reader(self, left_before: int) -> None:
        if self.transport.get_write_buffer_size() < left_before:
            self._wait_for_reader()
        else:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _watch(self) -> None:
        if not self._awaits_head():
            self._stop_watching()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _make_room(self) -> bool:
        """End the connection of another that can be missed best; gives whether there was one."""
        others = (one for one in self.connections if isinstance(one, Connection))
        waiting = [one for one in others if one is not self and one.waits_since() is not None]
        if not waiting:
            return False
        counts = Counter(one.network for one in waiting)
        first = min(waiting, key=lambda one: (-counts[one.network], one.waits_since()))
        first.drop()
        return True

    def waits_since(self) -> float | None:
        """When it began to wait for the head of a request; None where it does not."""
        return self._timer.when() - HEAD_S if self._timer is not None else None

    def drop(self) -> None:
        """End it without a word."""
        self.connections.discard(self)  # at once: it is lost only when others have come
        self._stop_watching()
        self.transport.abort()

    def _give_up(self) -> None:
        self._timer = None
        if self._awaits_head():
            self.transport.abort()

    def _awaits_head(self) -> bool:
        """No request is being answered, and no WebSocket has taken the connection over."""
        is_ours = self.transport.get_protocol() is self
        # None before the first request, which the server's own annotation leaves out.
        cycle: object = self.cycle
        return is_ours and (cycle is None or self.cycle.response_complete)


class KioskConnection(Connection):
    """One of the kiosk's browser: there are few, and so few may be, beside all of the page's."""

    @staticmethod
    @override
    def most() -> int:
        return FEWEST
