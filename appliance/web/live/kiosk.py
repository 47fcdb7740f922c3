"""The kiosk: Live alone on the host's own screen, without a login, on a listener of its own.

Who stands before the box sees what its screen shows; so what matters is that nobody else gets
here. The listener is bound to the loopback, and a proxy that was led to it by mistake is refused
by the headers that proxies add. But a proxy may add none, and every program of the host reaches
the loopback: so the browser must bring a key, once, and gets a cookie for it. The cookie is
made of the key and nothing else: it is good over a restart of the station, and no longer than
the key. Nothing can be changed from here, and nobody is signed in.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence

from fastapi import FastAPI, Request, WebSocket
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from appliance.texts import Languages
from appliance.web.access.bodies import call_limited
from appliance.web.access.plain import secured_application
from appliance.web.access.reach import Place
from appliance.web.asgi import App, Receive, Scope, Send, cookie_of, header, read_target, texts_of
from appliance.web.files import Files
from appliance.web.live.hub import LiveHub
from appliance.web.templates import Pages

HOSTS = {"127.0.0.1", "localhost", "[::1]"}
PEERS = {"127.0.0.1", "::1"}
PROXIES_SAY = {b"forwarded", b"via", b"x-real-ip"}
PROXIES_BEGIN = b"x-forwarded-"
METHODS = {"GET", "HEAD"}
ENTRY = "/enter"
OF_A_FILE = "null"  # the Origin of the page that brings the key, which is a file
BODY_BYTES = 4096
COOKIE = "appliance-kiosk"
NOT_FOR_YOU = "This is for the host's own screen."
NO_KEY = f"{NOT_FOR_YOU} Its browser must bring the key: see docs/kiosk.md."
WRONG_KEY = f"{NOT_FOR_YOU} The key is wrong: see docs/kiosk.md."


class KioskKey:
    """What opens the kiosk.

    Args:
        key: from the settings.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self.cookie = hmac.new(self._key, b"appliance kiosk cookie", hashlib.sha256).hexdigest()

    def is_key(self, text: str) -> bool:
        """Whether it is the key; takes as long for any other."""
        return hmac.compare_digest(text.encode("utf-8", "surrogatepass"), self._key)

    def has_entered(self, scope: Scope) -> bool:
        """Whether whoever calls has brought the key before."""
        return hmac.compare_digest(cookie_of(scope, COOKIE).encode(), self.cookie.encode())


def kiosk_application(
    hub: LiveHub,
    pages: Pages,
    languages: Languages,
    places: Callable[[], Sequence[Place]],
    key: KioskKey,
) -> App:
    """The player, its files and its WebSocket; nothing else.

    Args:
        hub: brings the pictures.
        pages: renders our templates, without a base path.
        languages: of whoever stands before the box.
        places: addresses under which others reach the page, asked at each loading.
        key: what the browser must bring.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.mount("/static", Files())

    @app.post(ENTRY)
    async def enter(request: Request) -> Response:
        """Where the browser brings the key."""
        form = await request.form()
        if not key.is_key(str(form.get("key", ""))):
            return PlainTextResponse(WRONG_KEY, status_code=403)
        answer = RedirectResponse("/player?kiosk=1", status_code=303)
        # Lax: the way here begins in a file, so with "strict" the redirect would come without it.
        answer.set_cookie(COOKIE, key.cookie, httponly=True, samesite="lax")
        return answer

    @app.get("/")
    async def home() -> Response:
        return RedirectResponse("/player?kiosk=1", status_code=303)

    @app.get("/player")
    def show_player(request: Request) -> Response:
        """Not `async`: in a thread of its own, since it asks the network interfaces."""
        texts = texts_of(request.scope)
        return HTMLResponse(pages.render("player.html", texts, places=places(), shortcuts=()))

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await hub.serve_kiosk(socket)

    return _for_this_screen_alone(secured_application(app, languages), key, languages)


def _for_this_screen_alone(app: App, key: KioskKey, languages: Languages) -> App:
    def refusing(text: str, status: int) -> App:
        return secured_application(PlainTextResponse(text, status_code=status), languages)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        read_target(scope)
        refused = _refusal(scope, key)
        if scope["type"] == "websocket" and refused:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "websocket":
            await app(scope, receive, send)
        else:
            asked = refusing(refused, 403) if refused else app
            status = await call_limited(asked, scope, receive, send, limit=BODY_BYTES)
            if status:
                await refusing(NOT_FOR_YOU, status)(scope, receive, send)

    return answer


def _refusal(scope: Scope, key: KioskKey) -> str:
    """Why a request is refused; nothing where it is not."""
    if not _is_own(scope):
        return NOT_FOR_YOU
    return "" if _enters(scope) or key.has_entered(scope) else NO_KEY


def _is_own(scope: Scope) -> bool:
    """Whether a request comes from a browser on this box, from a page of its own, and only reads.

    All that may be sent is the key.
    """
    host = header(scope, b"host")
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    client = scope.get("client")
    origins = {"", f"http://{host}"} | ({OF_A_FILE} if _enters(scope) else set())
    return (
        client is not None
        and client[0] in PEERS
        and name in HOSTS
        and not any(_is_a_proxys(key) for key, _ in scope["headers"])
        and header(scope, b"origin") in origins
        and (scope.get("method", "GET") in METHODS or _enters(scope))
    )


def _enters(scope: Scope) -> bool:
    return scope.get("method") == "POST" and scope["path"] == ENTRY


def _is_a_proxys(name: bytes) -> bool:
    return name in PROXIES_SAY or name.startswith(PROXIES_BEGIN)
