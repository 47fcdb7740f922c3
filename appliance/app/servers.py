"""HTTP servers of this process: their sockets, their configuration, and their end."""

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from typing_extensions import override

from appliance.errors import SettingsError
from appliance.settings import Web
from appliance.web.connections import Connection

GRACE_S = 2  # for open requests, once told to stop
MESSAGE_LIMIT = 16 * 1024  # of a viewer's WebSocket messages, bytes


class Server(uvicorn.Server):
    """Ends in order on the first signal, at once on the second, and exits with 0."""

    def __init__(self, config: uvicorn.Config, *, leaving: Callable[[], None]) -> None:
        super().__init__(config)
        self._leaving = leaving
        self._asked = False

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """From the first moment on, long before the server runs."""
        kinds = (signal.SIGTERM, signal.SIGINT)
        before = {kind: signal.signal(kind, self._on_signal) for kind in kinds}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _on_signal(self, kind: int, _: object) -> None:
        if self._asked:
            os._exit(128 + kind)
        self._asked = True
        if not self.started:
            raise SystemExit(0)
        self._leaving()  # live views end first: the server would wait for them
        self.should_exit = True

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are in place; the server's own would end the process by the signal, not with 0."""
        yield


def configuration() -> uvicorn.Config:
    """Of a server; its application is set when it is built."""
    return uvicorn.Config(
        app="",  # set when it is built
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=Connection,
        proxy_headers=False,  # the gate reads them, and takes them away
        timeout_graceful_shutdown=GRACE_S,
        ws_max_size=MESSAGE_LIMIT,
        # JPEGs do not get smaller; to try would cost milliseconds for each picture and viewer.
        ws_per_message_deflate=False,
    )


@contextmanager
def listening(web: Web) -> Iterator[socket.socket]:
    """The page's socket, from the start: a taken port is told before any camera is opened."""
    try:
        family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
        listener = socket.create_server((web.host, web.port), family=family)
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"port {web.port} is in use by another program",
            errno.EACCES: f"port {web.port} needs privileges that this process does not have",
            errno.EADDRNOTAVAIL: "this box has no such address",
            socket.EAI_NONAME: "nobody knows this name",
        }
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        raise SettingsError(
            f"the page cannot listen on {web.host}: {reason}",
            hint="Check APPLIANCE_WEB__HOST and APPLIANCE_WEB__PORT.",
        ) from error
    with listener:
        yield listener
