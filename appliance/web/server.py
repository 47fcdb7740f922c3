"""Assembles the web application: our routes, Gradio's page, and the gate around both."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from appliance.errors import StoreError
from appliance.pipeline.start_up import StartUp
from appliance.publish.metrics import CONTENT_TYPE, Metrics
from appliance.readings import StationReading
from appliance.texts import Languages, Texts, marked
from appliance.values import Stage
from appliance.web.access.bodies import PageParts
from appliance.web.access.gate import Gate
from appliance.web.access.login import Login
from appliance.web.access.policy import GatePolicy
from appliance.web.access.reach import CERTIFICATE_PATH
from appliance.web.access.sessions import Sessions
from appliance.web.asgi import Receive, Scope, Send, texts_of
from appliance.web.context import TabContext
from appliance.web.deferred import DeferredPage
from appliance.web.files import Files
from appliance.web.importing import import_gradio
from appliance.web.live.hub import LiveHub
from appliance.web.live.mjpeg import Streams
from appliance.web.live.player import player_routes
from appliance.web.overriding import Overriding
from appliance.web.tab import every_rule, known_tabs, letters, prefix_of
from appliance.web.templates import Pages

READ = ["GET", "HEAD"]


@dataclass(frozen=True, slots=True)
class WebParts:
    """What the web application is made of.

    Attributes:
        policy: base path, hosts, cookie, token.
        sessions: who is signed in.
        login: the way in.
        hub: the live view.
        streams: pictures for programs.
        metrics: for Prometheus.
        reading: the station now.
        pages: our own pages.
        tabs: what the tabs of the page show and ask.
        start_up: is told when the page is up.
        overriding: changes what counts as seen.
        languages: in which people read the page.
    """

    policy: GatePolicy
    sessions: Sessions
    login: Login
    hub: LiveHub
    streams: Streams
    metrics: Metrics
    reading: Callable[[], StationReading]
    pages: Pages
    tabs: TabContext
    start_up: StartUp
    overriding: Overriding
    languages: Languages


def web_application(parts: WebParts) -> Gate:
    """The ASGI application, gate included."""
    base = parts.policy.base_path

    def page_is_up() -> None:
        parts.start_up.reached(Stage.PAGE)
        parts.hub.page_is_up()

    page = DeferredPage(
        lambda: _make_page(parts.tabs, parts.languages),
        waiting=lambda texts, failed: parts.pages.render("waiting.html", texts, failed=failed),
        on_ready=page_is_up,
    )
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=page.lifespan)
    app.include_router(parts.login.router(), prefix=base)
    app.include_router(parts.overriding.router(), prefix=base)
    app.include_router(parts.streams.router(), prefix=base)
    app.include_router(_own_routes(parts), prefix=base)
    app.include_router(_certificate_route(parts), prefix=base)
    known = known_tabs()
    app.include_router(player_routes(parts.pages, known), prefix=base)
    for key, tab in known.items():
        if tab.router is not None:
            app.include_router(tab.router(parts.tabs), prefix=f"{base}{prefix_of(key)}")
    app.mount(f"{base}/static", Files())

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        """Not a mount: Gradio must see the whole path, which its own addresses begin with."""
        chosen = page if str(scope.get("path", "")).startswith(f"{base}/ui/") else app
        await chosen(scope, receive, send)

    def page_parts(texts: Texts) -> PageParts:
        render = partial(parts.pages.render, texts=texts, tabs=known, letters=letters(known))
        return PageParts(head=render("head.html"), top=render("top.html"), end=render("end.html"))

    return Gate(
        dispatch,
        parts.policy,
        parts.sessions,
        languages=parts.languages,
        page_parts=page_parts,
        rules=every_rule(),
    )


def _make_page(context: TabContext, languages: Languages) -> FastAPI:
    import_gradio()
    from appliance.web.page import page_application  # noqa: PLC0415 - Gradio has to be there

    return page_application(context, languages)


def _own_routes(parts: WebParts) -> APIRouter:
    router = APIRouter()
    base = parts.policy.base_path

    @router.api_route("/", methods=READ)
    async def home() -> Response:
        return RedirectResponse(f"{base}/ui/", status_code=303)

    @router.api_route("/api/health", methods=READ)
    async def health() -> Response:
        """Live: the event loop answers. Says nothing more to a stranger."""
        return JSONResponse({"status": "live"})

    @router.api_route("/api/ready", methods=READ)
    async def ready() -> Response:
        reading = parts.reading()
        document = {
            "ready": reading.ready,
            "health": reading.health,
            "reasons": reading.reasons,
            "notices": reading.notices,
        }
        return JSONResponse(document, status_code=200 if reading.ready else 503)

    @router.api_route("/metrics", methods=READ)
    def scrape() -> Response:
        """Not `async`: in a thread of its own, since it asks the disk and the process table."""
        return Response(parts.metrics.render(), media_type=CONTENT_TYPE)

    @router.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await parts.hub.serve(socket)

    return router


def _certificate_route(parts: WebParts) -> APIRouter:
    router = APIRouter()

    @router.api_route(CERTIFICATE_PATH, methods=READ)
    def authority(request: Request) -> Response:
        """Not `async`: in a thread of its own, since it reads a file.

        Strangers call it, so what is wrong with the file stands on the System page alone.
        """
        try:
            found = parts.tabs.reach.authority()
        except StoreError:
            found = None
        if found is None:
            text = marked("There is no certificate to trust here.")
            return PlainTextResponse(texts_of(request.scope)(text), status_code=404)
        return Response(found.pem, media_type="application/x-x509-ca-cert")

    return router
