"""`appliance serve`: the station in one process, until it is told to stop."""

import asyncio
import socket
import time
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from loguru import logger

from appliance import __version__
from appliance.app.assembly import library_of, models_in_use, sidecars_of, versions
from appliance.app.clock import clock_doubt, wall_s
from appliance.app.judging import criteria_of, usual_of
from appliance.app.kiosk import Kiosk, kiosk_listening
from appliance.app.pipeline import Pipeline, Surroundings
from appliance.app.servers import Server, configuration, listening, url_of
from appliance.app.storing import Stores, signed_in_before, storing
from appliance.delivery.results import last_update
from appliance.garbage import collect_as_usual
from appliance.logs import Ring
from appliance.pipeline.hardware import Hardware
from appliance.pipeline.notify import notifier
from appliance.pipeline.start_up import process_age_s
from appliance.pipeline.supervisor import PERIOD_S, Supervisor
from appliance.redaction import Redactor
from appliance.resources import descriptors, raise_descriptors
from appliance.settings import Loaded, Problem, Role, Settings, Web, effective, old_name_notices
from appliance.stores.lock import alone_in
from appliance.texts import ENGLISH, Languages
from appliance.web.access.callers import Callers, SignOn
from appliance.web.access.connections import CONNECTIONS, RESERVE, most_connections
from appliance.web.access.login import Door, Login
from appliance.web.access.policy import GatePolicy
from appliance.web.access.reach import Reach
from appliance.web.access.sessions import Sessions
from appliance.web.access.tokens import Bearers
from appliance.web.asgi import App
from appliance.web.context import TabContext
from appliance.web.health import serve_health
from appliance.web.live.hub import LiveHub
from appliance.web.live.mjpeg import Streams
from appliance.web.overriding import Overriding
from appliance.web.problem import problem_application
from appliance.web.server import WebParts, web_application
from appliance.web.templates import Pages

Ends = tuple[LiveHub, Streams, Stores]  # to where pictures and entries go


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

    @property
    def period_s(self) -> float:
        """Between two signs of life, in seconds."""
        return min(PERIOD_S, self.watchdog_s / 4) if self.watchdog_s else PERIOD_S


def run(
    loaded: Loaded,
    ring: Ring,
    manager: Manager,
    *,
    age_s: Callable[[], float] = process_age_s,
) -> None:
    """Run the station until a signal ends it.

    Args:
        loaded: settings and where they came from.
        ring: the last log lines, for the page.
        manager: who watches over this process.
        age_s: seconds since the start, where it is not the process's.

    Raises:
        StoreError: another station runs on the same state.
        ListenError, SettingsError: the page cannot listen where it should.
    """
    settings = loaded.settings
    notify = notifier(manager.notify_address)
    raise_descriptors()
    with (
        alone_in(settings.paths.state),
        listening(settings.web) as listener,
        kiosk_listening(settings.kiosk) as kiosk_listener,
        storing(settings) as stores,
    ):
        languages = Languages(settings.web.language)
        hub, streams = _watched(settings, stores.sessions)
        pipeline = _pipeline(settings, ring, (hub, streams, stores), age_s)
        supervisor = Supervisor(pipeline.station, notify, period_s=manager.period_s)
        kiosk = Kiosk(hub, kiosk_listener, settings, languages)

        def leave() -> None:
            hub.close()
            streams.close()
            kiosk.leave()

        server = Server(configuration(), leaving=leave)
        with server.heeding_signals():
            try:
                _tell_start(loaded)
                pipeline.start()
                supervisor.start()
                ends = hub, streams, stores
                server.config.app = _application(loaded, ring, pipeline, ends, languages)
                asyncio.run(_answer_requests((server, listener), kiosk, settings, pipeline, notify))
            finally:
                notify("STOPPING=1")
                supervisor.stop()
                clean = pipeline.stop()
                logger.info("stopped" if clean else "stopped; a call did not return in time")


def _tell_start(loaded: Loaded) -> None:
    logger.info("Vision Appliance {} starts", __version__)
    if loaded.unquoted:
        names = ", ".join(loaded.unquoted)
        logger.info("settings: a pair of quotes around the value was taken off: {}", names)
    for notice in old_name_notices(loaded.settings):
        logger.warning("settings: {}", notice)
    if doubt := clock_doubt(wall_s()):
        logger.warning(doubt)
    if (most := most_connections()) < CONNECTIONS:
        logger.warning(
            "limits: {} open files leave room for {} connections at once, not {}; raise "
            "LimitNOFILE= in the unit, or ulimits: nofile: in the Compose file, to {}",
            descriptors(),
            most,
            CONNECTIONS,
            CONNECTIONS + RESERVE,
        )
    for stray in library_of(loaded.settings).strays():
        logger.warning(stray.sentence())


def run_problem_page(problems: Sequence[Problem], web: Web, manager: Manager) -> None:
    """Show what is wrong with the settings until a signal ends it; nothing else runs.

    Raises:
        ListenError, SettingsError: the page cannot listen where it should.
    """
    notify = notifier(manager.notify_address)
    config = configuration()
    config.app = problem_application(
        problems, Languages(web.language), base=web.base_path, version=__version__
    )
    with listening(web) as listener:
        server = Server(config, leaving=lambda: None)
        with server.heeding_signals():
            notify("READY=1")
            notify("STATUS=The settings are wrong: only the page that says so is served")
            collect_as_usual()
            logger.error("settings are wrong; {} shows them", url_of(web))
            asyncio.run(_serve_alive((server, listener), notify, manager.period_s))


async def _serve_alive(
    page: tuple[Server, socket.socket], notify: Callable[[str], None], period_s: float
) -> None:
    """Nothing but the page is to be watched: it lives while the event loop turns."""
    server, listener = page
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not (await asyncio.wait({serving}, timeout=period_s))[0]:
        notify("WATCHDOG=1")
    await serving


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
        logger.info("page: {}", url_of(settings.web))
        server, listener = page
        await asyncio.gather(server.serve(sockets=[listener]), kiosk.serve())


def _watched(settings: Settings, sessions: Sessions) -> tuple[LiveHub, Streams]:
    """What brings pictures to people, and to programs; both share the seats."""
    cameras = frozenset(settings.cameras)
    hub = LiveHub(
        cameras=cameras,
        sessions=sessions,
        station={"name": settings.station.name, "version": __version__},
        confidence=usual_of(settings, criteria_of(settings)).confidence,
        viewers=settings.live.viewers,
        clock_ns=time.monotonic_ns,
    )
    return hub, Streams(cameras=cameras, seat=hub.seat, clock_ns=time.monotonic_ns)


def _pipeline(settings: Settings, ring: Ring, ends: Ends, age_s: Callable[[], float]) -> Pipeline:
    hub, streams, stores = ends
    around = Surroundings(
        publish=hub.publish,
        publish_burned=streams.publish,
        viewers=hub.count,
        log_lines=ring.counts,
        audit=stores.audit,
        store=stores.database.reading,
        age_s=age_s,
    )
    pipeline = Pipeline(settings, around)
    hub.connect(pipeline.encoder, pipeline.station.reading)
    streams.connect(pipeline.burner)
    return pipeline


def _application(
    loaded: Loaded, ring: Ring, pipeline: Pipeline, ends: Ends, languages: Languages
) -> App:
    settings, (hub, streams, stores) = loaded.settings, ends
    roles = {user.name: user.role for user in settings.auth.users}
    policy = _policy(settings, roles)
    pages = Pages(base=policy.base_path, station_name=settings.station.name, version=__version__)
    tabs = TabContext(
        base=policy.base_path,
        pages=pages,
        texts=languages.all()[ENGLISH],
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
        last_update=last_update,
        inspector=pipeline.inspector,
        snapshots=pipeline.snapshots,
        models=frozenset(models_in_use(settings)),
        station_name=settings.station.name,
        sidecars=lambda: sidecars_of(settings),
        redactor=Redactor(settings.secrets()),
    )
    door = Door(stores.audit, time.monotonic_ns, signed_in_before(stores.audit))
    return web_application(
        WebParts(
            policy=policy,
            sessions=stores.sessions,
            login=Login(settings.auth.users, stores.sessions, policy, pages, door),
            hub=hub,
            streams=streams,
            metrics=pipeline.metrics,
            reading=pipeline.station.reading,
            pages=pages,
            tabs=tabs,
            start_up=pipeline.start_up,
            overriding=Overriding(pipeline.overrides, stores.audit),
            languages=languages,
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
        bearers=Bearers(auth.tokens, simple=simple, wall_s=wall_s),
        callers=Callers(web.trusted_proxies, sign_on, roles),
    )
