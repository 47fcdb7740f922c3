"""`appliance serve`: the station in one process, until it is told to stop."""

import asyncio
import fcntl
import socket
import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from loguru import logger

from appliance import __version__
from appliance.app.assembly import models_in_use, sidecars_of, versions
from appliance.app.clock import clock_doubt, wall_s
from appliance.app.kiosk import Kiosk, kiosk_listening
from appliance.app.pipeline import Pipeline
from appliance.app.servers import Server, configuration, listening
from appliance.app.storing import Stores, storing
from appliance.errors import StoreError
from appliance.logs import Ring
from appliance.pipeline.hardware import Hardware
from appliance.pipeline.notify import notifier
from appliance.pipeline.supervisor import PERIOD_S, Supervisor
from appliance.redaction import Redactor
from appliance.settings import Loaded, Problem, Role, Settings, Web, effective
from appliance.web.asgi import App
from appliance.web.bundle import SupportBundle
from appliance.web.callers import Callers, SignOn
from appliance.web.context import TabContext
from appliance.web.gate import GatePolicy
from appliance.web.health import serve_health
from appliance.web.inspecting import Inspecting
from appliance.web.live import LiveHub
from appliance.web.login import Door, Login
from appliance.web.overriding import Overriding
from appliance.web.problem import problem_application
from appliance.web.reach import Reach
from appliance.web.server import WebParts, web_application
from appliance.web.sessions import Sessions
from appliance.web.templates import Pages
from appliance.web.tokens import Bearers

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
    with (
        _only_one(settings.paths.state),
        listening(settings.web) as listener,
        kiosk_listening(settings.kiosk) as kiosk_listener,
        storing(settings) as stores,
    ):
        hub = _hub(settings, stores.sessions)
        pipeline = Pipeline(
            settings,
            publish=hub.publish,
            viewers=hub.count,
            log_lines=ring.counts,
            audit=stores.audit,
            store=stores.database.reading,
        )
        hub.connect(pipeline.encoder, pipeline.station.reading)
        supervisor = Supervisor(pipeline.station, notify, period_s=period_s)
        kiosk = Kiosk(hub, kiosk_listener, station_name=settings.station.name)

        def leave() -> None:
            hub.close()
            kiosk.leave()

        server = Server(configuration(), leaving=leave)
        with server.heeding_signals():
            try:
                logger.info("Vision Appliance {} starts", __version__)
                if doubt := clock_doubt(wall_s()):
                    logger.warning(doubt)
                pipeline.start()
                supervisor.start()
                server.config.app = _application(loaded, ring, pipeline, (hub, stores))
                asyncio.run(_answer_requests((server, listener), kiosk, settings, pipeline, notify))
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
    config = configuration()
    config.app = problem_application(problems, base=web.base_path, version=__version__)
    with listening(web) as listener:
        server = Server(config, leaving=lambda: None)
        with server.heeding_signals():
            notify("READY=1")
            notify("STATUS=The settings are wrong: only the page that says so is served")
            logger.error("settings are wrong; http://{}:{} shows them", web.host, web.port)
            asyncio.run(server.serve(sockets=[listener]))


async def _answer_requests(
    page: tuple[Server, socket.socket],
    kiosk: Kiosk,
    settings: Settings,
    pipeline: Pipeline,
    notify: Callable[[str], None],
) -> None:
    health = await serve_health(settings.paths.state, pipeline.station.reading)
    async with health:
        notify("READY=1")
        web = settings.web
        logger.info("page: http://{}:{}{}/", web.host, web.port, web.base_path)
        server, listener = page
        await asyncio.gather(server.serve(sockets=[listener]), kiosk.serve())


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
    loaded: Loaded, ring: Ring, pipeline: Pipeline, live: tuple[LiveHub, Stores]
) -> App:
    settings, (hub, stores) = loaded.settings, live
    roles = {user.name: user.role for user in settings.auth.users}
    policy = _policy(settings, roles)
    pages = Pages(base=policy.base_path, station_name=settings.station.name, version=__version__)
    tabs = TabContext(
        base=policy.base_path,
        pages=pages,
        reading=pipeline.station.reading,
        roles=ChainMap(roles, policy.callers.vouched_roles),
        settings=effective(loaded),
        ring=ring,
        versions=cache(versions),
        state_folder=str(settings.paths.state),
        history=pipeline.history.hour,
        hardware=Hardware(settings.paths.state).reading,
        reach=Reach(settings.web),
        limits=pipeline.inspector.limits,
        usual=pipeline.overrides.usual,
        sessions=stores.sessions,
        audit=stores.audit,
        events=stores.audit.newest,
        reports=pipeline.reports,
    )
    door = Door(stores.audit, time.monotonic_ns)
    return web_application(
        WebParts(
            policy=policy,
            sessions=stores.sessions,
            audit=stores.audit,
            login=Login(settings.auth.users, stores.sessions, policy, pages, door),
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
            inspecting=Inspecting(
                pipeline.inspector, pipeline.snapshots, frozenset(models_in_use(settings))
            ),
            overriding=Overriding(pipeline.overrides, stores.audit),
        )
    )


def _policy(settings: Settings, roles: Mapping[str, Role]) -> GatePolicy:
    web, auth = settings.web, settings.auth
    simple = auth.metrics_token.get_secret_value() if auth.metrics_token is not None else None
    sign_on = SignOn(auth.proxy_header, auth.proxy_role_header, auth.proxy_role)
    return GatePolicy(
        base_path=web.base_path,
        hosts=tuple(web.hosts),
        https=web.https,
        port=web.port,
        bearers=Bearers(auth.tokens, simple=simple, wall_s=wall_s),
        callers=Callers(web.trusted_proxies, sign_on, roles),
    )


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
