"""Assembles the web application: our routes, Gradio's page, and the gate around both."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI, WebSocket
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from appliance.publish.metrics import CONTENT_TYPE, Metrics
from appliance.readings import StationReading
from appliance.web.gate import App, Gate, GatePolicy
from appliance.web.live import LiveHub
from appliance.web.login import Login
from appliance.web.page import mount_page
from appliance.web.sessions import Sessions
from appliance.web.tabs import TabContext
from appliance.web.templates import STATIC, Pages


@dataclass(frozen=True, slots=True)
class WebParts:
    """What the web application is made of.

    Attributes:
        policy: base path, hosts, cookie, token.
        sessions: who is signed in.
        login: the way in.
        hub: the live view.
        metrics: for Prometheus.
        reading: the station now.
        pages: our own pages.
        tabs: what the tabs of the Gradio page show.
    """

    policy: GatePolicy
    sessions: Sessions
    login: Login
    hub: LiveHub
    metrics: Metrics
    reading: Callable[[], StationReading]
    pages: Pages
    tabs: TabContext


def web_application(parts: WebParts) -> App:
    """The ASGI application, gate included."""
    base = parts.policy.base_path
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(parts.login.router(), prefix=base)
    app.include_router(_own_routes(parts), prefix=base)
    app.mount(f"{base}/static", StaticFiles(directory=STATIC))
    mount_page(app, parts.tabs, base=base, header=parts.pages.render("header.html"))
    return Gate(app, parts.policy, parts.sessions, page_head=parts.pages.render("head.html"))


def _own_routes(parts: WebParts) -> APIRouter:
    router = APIRouter()
    base = parts.policy.base_path
    player = parts.pages.render("player.html")

    @router.get("/")
    async def home() -> Response:
        return RedirectResponse(f"{base}/ui/", status_code=303)

    @router.get("/player")
    async def show_player() -> Response:
        return HTMLResponse(player)

    @router.get("/api/health")
    async def health() -> Response:
        """Live: the event loop answers. Says nothing more to a stranger."""
        return JSONResponse({"status": "live"})

    @router.get("/api/ready")
    async def ready() -> Response:
        reading = parts.reading()
        document = {"ready": reading.ready, "health": reading.health, "reasons": reading.reasons}
        return JSONResponse(document, status_code=200 if reading.ready else 503)

    @router.get("/metrics")
    async def scrape() -> Response:
        return Response(parts.metrics.render(), media_type=CONTENT_TYPE)

    @router.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await parts.hub.serve(socket)

    return router
