"""The server's connections: a stranger can hold neither one nor all of them for long.

The server itself waits for ever for the rest of a request's head, and for an answer to be read, and
takes connections until the process has no descriptor left for its cameras.
"""

import asyncio
import socket

from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0  # for the whole head of a request to come
UNREAD_S = 20.0  # for what was sent to be taken
UNSENT_BYTES = 16 * 1024  # that the kernel takes beyond what is on its way
CONNECTIONS = 400  # all together; with the cameras' well below the usual 1024 descriptors


class Connection(H11Protocol):
    """One connection; closed where a request's head takes too long, or too many are open."""

    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

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
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._watch()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
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
