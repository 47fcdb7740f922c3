"""The web application in this process, without cameras: real gate, sessions, login and pages."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from argon2 import PasswordHasher
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.websockets import WebSocketDisconnect
from typing_extensions import override

from appliance.app.servers import Server
from appliance.delivery.results import UpdateResult
from appliance.errors import EngineError
from appliance.logs import Ring
from appliance.pictures import Limits
from appliance.pipeline.asked import Inspected
from appliance.pipeline.criteria import Criteria
from appliance.pipeline.encoder import LiveEncoder, LivePicture, burn
from appliance.pipeline.hardware import HardwareReading
from appliance.pipeline.history import History
from appliance.pipeline.inspector import Inspect, Inspector
from appliance.pipeline.overrides import Overrides
from appliance.pipeline.served import ThresholdsOf
from appliance.pipeline.snapshots import Snapshots
from appliance.pipeline.start_up import StartUp
from appliance.predictions import Instances, Result
from appliance.publish.metrics import Metrics
from appliance.readings import CameraReading, EngineReading, StationReading
from appliance.redaction import Redactor
from appliance.resources import Cores, Limit, Memory
from appliance.settings import Role, Row, User
from appliance.settings import Web as WebSettings
from appliance.settings.secrets import normalized
from appliance.settings.tokens import Token
from appliance.stores import Audit
from appliance.texts import ENGLISH, Languages, Texts
from appliance.values import U8, CameraState, EngineState, FrameStamp, Health
from appliance.web.access.login import Door, Login
from appliance.web.access.policy import GatePolicy
from appliance.web.access.reach import Reach
from appliance.web.access.sessions import Sessions
from appliance.web.access.tokens import Bearers
from appliance.web.asgi import App, Message
from appliance.web.context import TabContext
from appliance.web.live.hub import LiveHub
from appliance.web.live.mjpeg import Streams
from appliance.web.overriding import Overriding
from appliance.web.server import WebParts, web_application
from appliance.web.templates import Pages
from tests.support.fakes import Clock, MemoryShelf, wait_until

HOST = "127.0.0.1:8080"
ORIGIN = f"http://{HOST}"
TOKEN = "a-token-of-the-tests"
PASSWORDS = {"vera": "v-secret", "otto": "o-secret", "ada": "a-secret"}
ROLES = {"vera": Role.VIEWER, "otto": Role.OPERATOR, "ada": Role.ADMIN}
NOW_S = 1_800_000_000.0  # 2027-01-15
IDLE_S = 600.0
LONGEST_S = 3600.0

ENGINE = EngineReading(
    model="bright-spots",
    state=EngineState.RUNNING,
    asked="auto",
    running="ONNX Runtime CPU",
    backend="cpu",
    version="1.0",
    precision="fp32",
    verdict="proven",
    proof="agrees with the original",
)
CAMERA = CameraReading("gate", "Gate", "bright-spots", CameraState.LIVE, since_s=1000.0)
READING = StationReading(
    now_s=2000.0, health=Health.READY, reasons=(), cameras=(CAMERA,), engines=(ENGINE,)
)
HARDWARE = HardwareReading(
    disk_free_bytes=12_300_000_000,
    disk_total_bytes=100_000_000_000,
    disk_used=0.877,
    station_bytes=310_000_000,
    memory_used_bytes=1_900_000_000,
    memory_total_bytes=7_600_000_000,
    load=(0.5, 0.4, 0.3),
    cores=4,
    own_memory=Memory(7_600_000_000, 5_700_000_000, 7_600_000_000, Limit.MACHINE),
    own_cores=Cores(4, 4, 4, Limit.MACHINE),
)
SETTINGS = (Row("APPLIANCE_MODEL", "bright-spots", "environment", is_default=False),)


LIMITS = Limits(megapixels=40, size_mb=10)
USUAL = Criteria(0.3)


def variable_of(camera: str, field: str) -> str:
    """As without old names."""
    return f"APPLIANCE_CAMERAS__{camera}__{field}".upper()


LANGUAGES = Languages()
ENGLISH_TEXTS = LANGUAGES.all()[ENGLISH]


def no_engine(model: str, _picture: U8, _thresholds: ThresholdsOf) -> Future[Inspected]:
    """What a loop says while nothing is built yet."""
    raise EngineError(f"no engine runs {model} yet", hint="Try again then.")


def cheap_hash(password: str) -> str:
    """A real argon2id hash that costs next to nothing, in the form of the settings."""
    return normalized(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password))


def users() -> tuple[User, ...]:
    """One person of each role."""
    return tuple(
        User(name=name, role=ROLES[name], hash=SecretStr(cheap_hash(password)))
        for name, password in PASSWORDS.items()
    )


def make_sessions(clock: Clock) -> Sessions:
    """Sessions of one run."""
    return Sessions(
        idle_s=IDLE_S,
        longest_s=LONGEST_S,
        clock_ns=clock,
        wall_s=lambda: NOW_S,
        shelf=MemoryShelf(),
        users=(),
    )


def bearers(simple: str | None = TOKEN, tokens: Sequence[Token] = ()) -> Bearers:
    """Tokens of machines, on the day of `NOW_S`."""
    return Bearers(tokens, simple=simple, wall_s=lambda: NOW_S)


@dataclass(slots=True)
class Audits(Audit):
    """Keeps what is noted, in the order of the events."""

    notes: list[tuple[str, str, str, str]] = field(default_factory=list)

    @override
    def note(self, what: str, *, user: str = "", address: str = "", detail: str = "") -> None:
        self.notes.append((what, user, address, detail))


@dataclass(slots=True)
class Web:
    """The application and the parts that tests look into.

    Attributes:
        app: gate included.
        parts: what it was made of.
        clock: of the sessions.
        encoder: not started; counts who watches.
        audit: what was noted.
        host: by which browsers call it.
    """

    app: App
    parts: WebParts
    clock: Clock
    encoder: LiveEncoder
    audit: Audits
    host: str = HOST

    def ask(
        self, method: str, path: str, *, role: Role | None = None, **options: Any
    ) -> httpx.Response:
        """One request by a person of this role, or by a stranger; no redirect is followed."""
        headers = {"cookie": self.cookie(role)} if role else {}
        headers.update(options.pop("headers", {}))

        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
                return await client.request(method, path, headers=headers, **options)

        return asyncio.run(call())

    def post(self, path: str, *, role: Role | None = None, **options: Any) -> httpx.Response:
        """The same from our own page: with its Origin."""
        headers = {"origin": ORIGIN, **options.pop("headers", {})}
        return self.ask("POST", path, role=role, headers=headers, **options)

    def cookie_name(self, host: str = "") -> str:
        """Of the session's cookie, which follows the host that the browser calls."""
        called = (host or self.host).encode()
        return self.parts.policy.cookie_name({"headers": [(b"host", called)]})

    def cookie(self, role: Role, host: str = "") -> str:
        """The Cookie header of a new session."""
        name = next(name for name, held in ROLES.items() if held is role)
        return f"{self.cookie_name(host)}={self.parts.sessions.open(name, role)}"

    def connect(self, path: str, headers: Mapping[str, str]) -> list[Message]:
        """What a WebSocket handshake is answered with, up to its close or the first reading."""
        answers: list[Message] = []

        async def receive() -> Message:
            if not answers:
                return {"type": "websocket.connect"}
            await asyncio.sleep(3600)
            raise AssertionError

        async def send(message: Message) -> None:
            answers.append(message)
            if message["type"] == "websocket.send":
                raise WebSocketDisconnect

        scope = {
            "type": "websocket",
            "path": path,
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
            "query_string": b"",
            "subprotocols": [],
        }
        asyncio.run(self.app(scope, receive, send))
        return answers


def make_web(
    *,
    policy: Mapping[str, object] | None = None,
    people: tuple[User, ...] | None = None,
    reading: StationReading = READING,
    viewers: int = 4,
    reports: Callable[[str], Path | None] = lambda _model: None,
    ca_file: Path | None = None,
    looking: Inspect = no_engine,
    judge_by: Callable[[Criteria | None], None] = lambda _criteria: None,
) -> Web:
    """The application as `serve` makes it, with a station that says `reading`."""
    clock, audit = Clock(), Audits()
    settled = GatePolicy(base_path="", hosts=(), https=False, bearers=bearers())
    settled = replace(settled, **(policy or {}))
    sessions = make_sessions(clock)
    pages = Pages(base=settled.base_path, station_name="Hall 3", version="0.0")
    hub = LiveHub(
        cameras=frozenset({"gate", "dock"}),
        sessions=sessions,
        station={"name": "Hall 3", "version": "0.0"},
        confidence=0.3,
        viewers=viewers,
        clock_ns=clock,
    )
    encoder = LiveEncoder(lambda _: None, fps=60, quality=80, clock_ns=clock)
    hub.connect(encoder, lambda: reading)
    streams = Streams(cameras=frozenset({"gate", "dock"}), seat=hub.seat, clock_ns=clock)
    burner = LiveEncoder(streams.publish, fps=60, quality=80, clock_ns=clock, paint=burn)
    streams.connect(burner)
    people = users() if people is None else people
    tabs = tab_context(
        pages,
        reading,
        base=settled.base_path,
        reports=reports,
        ca_file=ca_file,
        sessions=sessions,
        audit=audit,
        looking=looking,
    )
    parts = WebParts(
        policy=settled,
        sessions=sessions,
        login=Login(people, sessions, settled, pages, Door(audit, clock)),
        hub=hub,
        streams=streams,
        metrics=Metrics(lambda: reading, version="0.0"),
        reading=lambda: reading,
        pages=pages,
        tabs=tabs,
        start_up=StartUp(lambda: 6.1),
        overriding=Overriding(
            Overrides(
                {"gate": USUAL},
                usual=USUAL,
                name_of=variable_of,
                judge_by=judge_by,
                labels=frozenset,
                wall_s=lambda: NOW_S,
            ),
            audit,
        ),
        languages=LANGUAGES,
    )
    return Web(web_application(parts), parts, clock, encoder, audit)


@contextmanager
def serving(web: Web, config: uvicorn.Config) -> Iterator[tuple[str, int]]:
    """The application behind the real server, in a thread; gives its address.

    Without a lifespan: nobody makes Gradio's page, unless `whole_web` has.
    """
    config.app, config.lifespan = web.app, "off"
    config.host, config.port = "127.0.0.1", 0
    server = Server(config, leaving=lambda: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        address = server.servers[0].sockets[0].getsockname()
        web.host = f"{address[0]}:{address[1]}"
        yield address
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def whole_web(**changes: Any) -> Web:
    """The application with Gradio's page in place, as it is once the station is up."""
    from appliance.web.page import page_application  # takes seconds

    web = make_web(**changes)

    async def make_page() -> FastAPI:
        # Without a running loop Gradio makes one, and leaves it to the garbage collector.
        return page_application(web.parts.tabs, LANGUAGES)

    page = inspect.getclosurevars(web.app._app).nonlocals["page"]
    page._page = asyncio.run(make_page())
    return web


def tab_context(
    pages: Pages,
    reading: StationReading = READING,
    *,
    base: str = "",
    reports: Callable[[str], Path | None] = lambda _model: None,
    ca_file: Path | None = None,
    sessions: Sessions | None = None,
    audit: Audit | None = None,
    texts: Texts = ENGLISH_TEXTS,
    last_update: UpdateResult | None = None,
    looking: Inspect = no_engine,
) -> TabContext:
    """What the tabs show of `reading`."""
    return TabContext(
        base=base,
        pages=pages,
        texts=texts,
        reading=lambda: reading,
        roles=ROLES,
        settings=SETTINGS,
        ring=Ring(),
        versions=lambda: {"Vision Appliance": "0.0"},
        state_folder="/state",
        history=History([camera.key for camera in reading.cameras], Clock()).hour,
        hardware=lambda: HARDWARE,
        reach=Reach(WebSettings(ca_file=ca_file), interfaces=list, own_name=lambda: "hall3"),
        limits=lambda: LIMITS,
        usual=USUAL,
        sessions=sessions or make_sessions(Clock()),
        audit=audit or Audits(),
        events=lambda _count: (),
        reports=reports,
        last_update=lambda: last_update,
        inspector=Inspector(looking, limits=lambda: LIMITS),
        snapshots=Snapshots(frozenset({"gate", "dock"})),
        models=frozenset({"bright-spots"}),
        station_name="Hall 3",
        sidecars=lambda: {"m/1": "{}"},
        redactor=Redactor(),
    )


def picture_of(camera: str, sequence: int, jpeg: bytes = b"\xff\xd8\xff\xd9") -> LivePicture:
    """A picture without detections, as the encoder hands it over."""
    stamp = FrameStamp(sequence, 0, 1000.0 + sequence)
    return LivePicture(
        Result(camera, stamp, (320, 240), "detection", Instances.empty(), 1.0, 0), jpeg
    )
