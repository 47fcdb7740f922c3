"""HTTP servers of this process: their sockets, their configuration, and their end."""

import asyncio
import errno
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from typing_extensions import override

from appliance.errors import ListenError, SettingsError
from appliance.settings import Web
from appliance.web.access.connections import TAKEN_AT_ONCE, WAITING, Connection, tell_errors_of

GRACE_S = 2  # for open requests, once told to stop
MESSAGE_LIMIT = 16 * 1024  # of a viewer's WebSocket messages, bytes


class _ToldToEndError(SystemExit):
    """Raised by the handler of signals; asyncio lets nothing else through from where it comes."""


class Server(uvicorn.Server):
    """Ends in order on the first signal, at once on the second, and exits with 0."""

    def __init__(self, config: uvicorn.Config, *, leaving: Callable[[], None]) -> None:
        super().__init__(config)
        self._leaving = leaving
        self._asked = False

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """From the first moment on, long before the server runs; a signal ends the block."""
        kinds = (signal.SIGTERM, signal.SIGINT)
        before = {kind: signal.signal(kind, self._on_signal) for kind in kinds}
        try:
            yield
        except _ToldToEndError:
            pass
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _on_signal(self, kind: int, _: object) -> None:
        if self._asked:
            os._exit(128 + kind)
        self._asked = True
        self._leaving()  # live views end first: the server would wait for them
        self.should_exit = True
        # Where Python cannot raise, as when an object is thrown away, the start goes on, and the
        # server ends as soon as it has begun.
        if not self.started:
            raise _ToldToEndError(0)

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Many may wait in the kernel, though few are taken at once."""
        tell_errors_of(asyncio.get_running_loop())
        await super().startup(sockets)
        for listener in (each for server in self.servers for each in server.sockets):
            with socket.socket(fileno=os.dup(listener.fileno())) as same:
                same.listen(WAITING)

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are in place; the server's own would end the process by the signal, not with 0."""
        yield


def configuration(connection: type[Connection] = Connection) -> uvicorn.Config:
    """Of a server; its application is set when it is built.

    Args:
        connection: the kind of its connections, which knows how many there may be.
    """
    return uvicorn.Config(
        app="",  # set when it is built
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=connection,
        backlog=TAKEN_AT_ONCE,
        proxy_headers=False,  # the gate reads them, and takes them away
        timeout_graceful_shutdown=GRACE_S,
        ws_max_size=MESSAGE_LIMIT,
        # JPEGs do not get smaller; to try would cost milliseconds for each picture and viewer.
        ws_per_message_deflate=False,
    )


def listen_on(what: str, host: str, port: int, *, hint: str) -> socket.socket:
    """A socket, from the start on: a taken port is told before any camera is opened.

    Raises:
        ListenError: another program has the port, or the network is not up yet; it may pass.
        SettingsError: it will not.
    """
    passing = {
        errno.EADDRINUSE: f"port {port} is in use by another program",
        errno.EADDRNOTAVAIL: "this box has no such address",
        socket.EAI_AGAIN: "no name server answers",
        socket.EAI_NONAME: "nobody knows this name",
    }
    try:
        return _listener(host, port)
    except OSError as error:
        told = f"the {what} cannot listen on {host}"
        if reason := passing.get(error.errno or 0):
            raise ListenError(f"{told}: {reason}", hint=hint) from error
        reason = error.strerror or str(error)
        if error.errno == errno.EACCES:
            reason = f"port {port} needs privileges that this process does not have"
        elif error.errno == errno.EAFNOSUPPORT:
            reason = "this host has IPv6 switched off"
        raise SettingsError(f"{told}: {reason}", hint=hint) from error


def _listener(host: str, port: int) -> socket.socket:
    """For names IPv4 as ever; at `::` both families, whatever the kernel does by default."""
    if ":" not in host:
        return socket.create_server((host, port))
    numeric = socket.AI_NUMERICHOST  # which brings the scope of a link-local address along
    found = socket.getaddrinfo(host, port, socket.AF_INET6, socket.SOCK_STREAM, flags=numeric)
    is_every = ipaddress.ip_address(host).is_unspecified
    both = is_every and socket.has_dualstack_ipv6()
    return socket.create_server(found[0][4], family=socket.AF_INET6, dualstack_ipv6=both)


def url_of(web: Web) -> str:
    """Of the page where it listens, as browsers take it."""
    host = f"[{web.host.replace('%', '%25')}]" if ":" in web.host else web.host
    return f"http://{host}:{web.port}{web.base_path}/"


def listening(web: Web) -> socket.socket:
    """The page's socket; raises as `listen_on` does."""
    hint = "Check APPLIANCE_WEB__HOST and APPLIANCE_WEB__PORT."
    return listen_on("page", web.host, web.port, hint=hint)
