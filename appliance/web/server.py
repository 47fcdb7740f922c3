"""Assembles the web application: our routes, Gradio's page, and the gate around both."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)

from appliance.errors import StoreError
from appliance.pipeline.start_up import StartUp
from appliance.publish.metrics import CONTENT_TYPE, Metrics
from appliance.readings import StationReading
from appliance.stores import Audit
from appliance.texts import Languages, marked
from appliance.values import Stage
from appliance.web.access.bodies import PageParts
from appliance.web.access.callers import ADDRESS_KEY
from appliance.web.access.gate import SESSION_KEY, Gate, GatePolicy
from appliance.web.access.login import Login
from appliance.web.access.reach import CERTIFICATE_PATH
from appliance.web.access.sessions import Sessions
from appliance.web.asgi import Receive, Scope, Send, texts_of
from appliance.web.bundle import SupportBundle
from appliance.web.context import TabContext
from appliance.web.deferred import DeferredPage
from appliance.web.files import Files
from appliance.web.importing import import_gradio
from appliance.web.inspecting import Inspecting
from appliance.web.live.hub import LiveHub
from appliance.web.live.mjpeg import Streams
from appliance.web.overriding import Overriding
from appliance.web.packing import packed_page
from appliance.web.templates import Pages

READ = ["GET", "HEAD"]


@dataclass(frozen=True, slots=True)
class WebParts:
    """What the web application is made of.

    Attributes:
        policy: base path, hosts, cookie, token.
        sessions: who is signed in.
        audit: what people did.
        login: the way in.
        hub: the live view.
        streams: pictures for programs.
        metrics: for Prometheus.
        reading: the station now.
        pages: our own pages.
        tabs: what the tabs of the Gradio page show.
        bundle: what a person hands on who asks for help.
        start_up: is told when the page is up.
        inspecting: looks at single pictures.
        overriding: changes what counts as seen.
        languages: in which people read the page.
    """

    policy: GatePolicy
    sessions: Sessions
    audit: Audit
    login: Login
    hub: LiveHub
    streams: Streams
    metrics: Metrics
    reading: Callable[[], StationReading]
    pages: Pages
    tabs: TabContext
    bundle: SupportBundle
    start_up: StartUp
    inspecting: Inspecting
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
    app.include_router(parts.inspecting.router(), prefix=base)
    app.include_router(parts.overriding.router(), prefix=base)
    app.include_router(parts.streams.router(), prefix=base)
    app.include_router(_own_routes(parts), prefix=base)
    app.include_router(_file_routes(parts), prefix=base)
    app.mount(f"{base}/static", Files())

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        """Not a mount: Gradio must see the whole path, which its own addresses begin with."""
        chosen = page if str(scope.get("path", "")).startswith(f"{base}/ui/") else app
        await chosen(scope, receive, send)

    return Gate(
        dispatch,
        parts.policy,
        parts.sessions,
        languages=parts.languages,
        page_parts=lambda texts: PageParts(
            head=parts.pages.render("head.html", texts),
            top=parts.pages.render("top.html", texts),
            end=parts.pages.render("live.html", texts),
        ),
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

    @router.api_route("/player", methods=READ)
    async def show_player(request: Request) -> Response:
        text = parts.pages.render("player.html", texts_of(request.scope), places=())
        return packed_page(request.scope, text)

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

    @router.api_route("/api/support-bundle", methods=["GET"])
    def support_bundle(request: Request) -> Response:
        """Not `async`: in a thread of its own, since it reads files and packs."""
        made = parts.bundle.make()
        user, address = request.scope[SESSION_KEY].user, request.scope[ADDRESS_KEY]
        parts.audit.note("export", user=user, address=address, detail=made.name)
        disposition = f'attachment; filename="{made.name}"'
        return Response(
            made.content,
            media_type="application/zip",
            headers={"Content-Disposition": disposition},
        )

    @router.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await parts.hub.serve(socket)

    return router


def _file_routes(parts: WebParts) -> APIRouter:
    router = APIRouter()

    @router.api_route("/engines/{model}/report", methods=READ)
    def engine_report(request: Request, model: str) -> Response:
        """Not `async`: in a thread of its own, since it reads a file.

        The name is looked up among the models in use; it never becomes a path.
        """
        in_use = {engine.model for engine in parts.reading().engines}
        path = parts.tabs.report(model) if model in in_use else None
        if path is None:
            texts = texts_of(request.scope)
            return PlainTextResponse(texts("This model has no report."), status_code=404)
        return FileResponse(path, media_type="text/html; charset=utf-8")

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
