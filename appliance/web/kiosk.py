"""The kiosk: Live alone on the box's own screen, without a login, on a listener of its own.

Who stands before the box sees what its screen shows; so what matters is that nobody else gets
here. The listener is bound to the loopback, and a proxy that was led to it by mistake is refused
by the headers that proxies add. Nothing can be changed from here, and nobody is signed in.
"""

from collections.abc import Callable, Sequence

from fastapi import FastAPI, Request, WebSocket
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from appliance.texts import Languages
from appliance.web.asgi import App, Receive, Scope, Send, header, read_target, texts_of
from appliance.web.files import Files
from appliance.web.live import LiveHub
from appliance.web.plain import secured_application
from appliance.web.reach import Place
from appliance.web.templates import Pages

HOSTS = {"127.0.0.1", "localhost", "[::1]"}
PEERS = {"127.0.0.1", "::1"}
PROXIES_SAY = {b"forwarded", b"via", b"x-real-ip"}
PROXIES_BEGIN = b"x-forwarded-"
METHODS = {"GET", "HEAD"}
NOT_FOR_YOU = "This is for the box's own screen."


def kiosk_application(
    hub: LiveHub, pages: Pages, languages: Languages, places: Callable[[], Sequence[Place]]
) -> App:
    """The player, its files and its WebSocket; nothing else.

    Args:
        hub: brings the pictures.
        pages: renders our templates, without a base path.
        languages: of whoever stands before the box.
        places: addresses under which others reach the page, asked at each loading.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.mount("/static", Files())

    @app.get("/")
    async def home() -> Response:
        return RedirectResponse("/player?kiosk=1", status_code=303)

    @app.get("/player")
    def show_player(request: Request) -> Response:
        """Not `async`: in a thread of its own, since it asks the network interfaces."""
        texts = texts_of(request.scope)
        return HTMLResponse(pages.render("player.html", texts, places=places()))

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await hub.serve_kiosk(socket)

    refusal = PlainTextResponse(NOT_FOR_YOU, status_code=403)
    return _for_this_box_alone(
        secured_application(app, languages), secured_application(refusal, languages)
    )


def _for_this_box_alone(app: App, refuse: App) -> App:

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        read_target(scope)
        if scope["type"] == "lifespan" or _is_own(scope):
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refuse(scope, receive, send)

    return answer


def _is_own(scope: Scope) -> bool:
    """Whether a request comes from a browser on this box, from this very page, and only reads."""
    host = header(scope, b"host")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    client = scope.get("client")
    return (
        client is not None
        and client[0] in PEERS
        and name in HOSTS
        and not any(_is_a_proxys(key) for key, _ in scope["headers"])
        and header(scope, b"origin") in {"", f"http://{host}"}
        and scope.get("method", "GET") in METHODS
    )


def _is_a_proxys(name: bytes) -> bool:
    return name in PROXIES_SAY or name.startswith(PROXIES_BEGIN)
