"""`appliance serve`: the station in one process, until it is told to stop."""

import asyncio
import errno
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import uvicorn
from loguru import logger
from typing_extensions import override

from appliance import __version__
from appliance.app.assembly import sidecars_of, versions
from appliance.app.clock import clock_doubt, wall_s
from appliance.app.pipeline import Pipeline
from appliance.errors import SettingsError, StoreError
from appliance.logs import Ring
from appliance.pipeline.hardware import Hardware
from appliance.pipeline.notify import notifier
from appliance.pipeline.supervisor import PERIOD_S, Supervisor
from appliance.redaction import Redactor
from appliance.settings import Loaded, Problem, Settings, Web, effective
from appliance.web.asgi import App
from appliance.web.bundle import SupportBundle
from appliance.web.context import TabContext
from appliance.web.gate import GatePolicy
from appliance.web.health import serve_health
from appliance.web.live import LiveHub
from appliance.web.login import Login
from appliance.web.problem import problem_application
from appliance.web.server import WebParts, web_application
from appliance.web.sessions import Sessions
from appliance.web.templates import Pages

GRACE_S = 2  # for open requests, once told to stop
MESSAGE_LIMIT = 16 * 1024  # of a viewer's WebSocket messages, bytes


@dataclass(frozen=True, slots=True)
class Manager:
    """What the service manager has told this process; empty without one.

    Attributes:
        notify_address: NOTIFY_SOCKET.
        watchdog_s: its patience in seconds; 0 means none.
    """

    notify_address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Manager":
        """From the variables that systemd sets."""
        patience_us = environ.get("WATCHDOG_USEC", "")
        watchdog_s = int(patience_us) / 1e6 if patience_us.isdecimal() else 0.0
        return cls(environ.get("NOTIFY_SOCKET", ""), watchdog_s)


def run(loaded: Loaded, ring: Ring, manager: Manager) -> None:
    """Run the station until a signal ends it.

    Args:
        loaded: settings and where they came from.
        ring: the last log lines, for the page.
        manager: who watches over this process.

    Raises:
        StoreError: another station runs on the same state.
        SettingsError: the page cannot listen where it should.
    """
    settings = loaded.settings
    notify = notifier(manager.notify_address)
    period_s = min(PERIOD_S, manager.watchdog_s / 4) if manager.watchdog_s else PERIOD_S
    with _only_one(settings.paths.state), _listening(settings.web) as listener:
        sessions = Sessions(
            idle_s=settings.auth.idle_minutes * 60,
            longest_s=settings.auth.max_hours * 3600,
            clock_ns=time.monotonic_ns,
        )
        hub = _hub(settings, sessions)
        pipeline = Pipeline(settings, publish=hub.publish, viewers=hub.count, log_lines=ring.counts)
        hub.connect(pipeline.encoder, pipeline.station.reading)
        supervisor = Supervisor(pipeline.station, notify, period_s=period_s)
        server = _Server(_uvicorn(settings.web), leaving=hub.close)
        with server.heeding_signals():
            try:
                logger.info("Vision Appliance {} starts", __version__)
                if doubt := clock_doubt(wall_s()):
                    logger.warning(doubt)
                pipeline.start()
                supervisor.start()
                server.config.app = _application(loaded, ring, pipeline, (hub, sessions))
                asyncio.run(_answer_requests(server, listener, settings, pipeline, notify))
            finally:
                notify("STOPPING=1")
                supervisor.stop()
                clean = pipeline.stop()
                logger.info("stopped" if clean else "stopped; a call did not return in time")


def run_problem_page(problems: Sequence[Problem], web: Web, manager: Manager) -> None:
    """Show what is wrong with the settings until a signal ends it; nothing else runs.

    Raises:
        SettingsError: the page cannot listen where it should.
    """
    notify = notifier(manager.notify_address)
    config = _uvicorn(web)
    config.app = problem_application(problems, base=web.base_path, version=__version__)
    with _listening(web) as listener:
        server = _Server(config, leaving=lambda: None)
        with server.heeding_signals():
            notify("READY=1")
            notify("STATUS=The settings are wrong: only the page that says so is served")
            logger.error("settings are wrong; http://{}:{} shows them", web.host, web.port)
            asyncio.run(server.serve(sockets=[listener]))


class _Server(uvicorn.Server):
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


def _uvicorn(web: Web) -> uvicorn.Config:
    return uvicorn.Config(
        app="",  # set when it is built
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(web.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in web.trusted_proxies],
        timeout_graceful_shutdown=GRACE_S,
        ws_max_size=MESSAGE_LIMIT,
        # JPEGs do not get smaller; to try would cost milliseconds for each picture and viewer.
        ws_per_message_deflate=False,
    )


async def _answer_requests(
    server: _Server,
    listener: socket.socket,
    settings: Settings,
    pipeline: Pipeline,
    notify: Callable[[str], None],
) -> None:
    health = await serve_health(settings.paths.state, pipeline.station.reading)
    async with health:
        notify("READY=1")
        web = settings.web
        logger.info("page: http://{}:{}{}/", web.host, web.port, web.base_path)
        await server.serve(sockets=[listener])


def _hub(settings: Settings, sessions: Sessions) -> LiveHub:
    return LiveHub(
        cameras=frozenset(settings.cameras),
        sessions=sessions,
        station={"name": settings.station.name, "version": __version__},
        confidence=settings.detection.confidence,
        viewers=settings.live.viewers,
        clock_ns=time.monotonic_ns,
    )


def _application(
    loaded: Loaded, ring: Ring, pipeline: Pipeline, live: tuple[LiveHub, Sessions]
) -> App:
    settings, (hub, sessions) = loaded.settings, live
    token = settings.auth.metrics_token
    policy = GatePolicy(
        base_path=settings.web.base_path,
        hosts=tuple(settings.web.hosts),
        https=settings.web.https,
        metrics_token=token.get_secret_value() if token is not None else None,
        port=settings.web.port,
    )
    pages = Pages(base=policy.base_path, station_name=settings.station.name, version=__version__)
    tabs = TabContext(
        base=policy.base_path,
        pages=pages,
        reading=pipeline.station.reading,
        roles={user.name: user.role for user in settings.auth.users},
        settings=effective(loaded),
        ring=ring,
        versions=cache(versions),
        state_folder=str(settings.paths.state),
        history=pipeline.history.hour,
        hardware=Hardware(settings.paths.state).reading,
        reports=pipeline.reports,
    )
    return web_application(
        WebParts(
            policy=policy,
            sessions=sessions,
            login=Login(settings.auth.users, sessions, policy, pages),
            hub=hub,
            metrics=pipeline.metrics,
            reading=pipeline.station.reading,
            pages=pages,
            tabs=tabs,
            bundle=SupportBundle(
                tabs,
                station_name=settings.station.name,
                sidecars=lambda: sidecars_of(settings),
                redactor=Redactor(settings.secrets()),
            ),
            start_up=pipeline.start_up,
        )
    )


@contextmanager
def _listening(web: Web) -> Iterator[socket.socket]:
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


@contextmanager
def _only_one(state: Path) -> Iterator[None]:
    """Hold the state folder for this process."""
    with (state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"another station runs on {state}",
                hint="Stop it first, or give this one its own APPLIANCE_PATHS__STATE.",
            ) from error
        yield
