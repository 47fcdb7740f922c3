"""Who gets to which route: the whole map, written down apart from the rules.

A route that is new, ours or a library's, fails here until somebody has decided who may call it.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pytest

from appliance.settings import Role
from appliance.settings.tokens import TokenScope, new_token
from appliance.texts import LANGUAGES
from tests.support.routes import every_endpoint
from tests.support.web import IDLE_S, NOW_S, ORIGIN, TOKEN, bearers, whole_web

TODAY = datetime.fromtimestamp(NOW_S, UTC).date()
METRICS, METRICS_KEPT = new_token("m", [TokenScope.METRICS], TODAY + timedelta(days=9))
PICTURES, PICTURES_KEPT = new_token("p", [TokenScope.PICTURES], TODAY + timedelta(days=9))
READY, READY_KEPT = new_token("r", [TokenScope.READY], TODAY + timedelta(days=9))
OVER, OVER_KEPT = new_token("o", TokenScope, TODAY)

PEOPLE = {"viewer", "operator", "admin"}
OPERATORS = {"operator", "admin"}
MACHINES = {"metrics", "pictures", "ready", "over", "simple"}
EVERYBODY = {"nobody", "expired", *PEOPLE, *MACHINES}
MAP = {
    "GET HEAD /login": EVERYBODY,
    "POST /login": EVERYBODY,
    "GET HEAD /api/health": EVERYBODY,
    "GET HEAD /ca.crt": EVERYBODY,
    "GET HEAD /metrics": {"metrics", "simple"},
    "GET HEAD /api/ready": {"ready", "simple"},
    "GET HEAD /": PEOPLE,
    "GET HEAD /player": PEOPLE,
    "GET /static/player.js": PEOPLE,
    "GET /api/cameras/x/stream": {*PEOPLE, "pictures"},
    "GET /api/cameras/x/snapshot": {*PEOPLE, "pictures"},
    "POST /logout": PEOPLE,
    "WEBSOCKET /live": PEOPLE,
    "GET HEAD /api/system/reports/x": OPERATORS,
    "POST /api/inspect": OPERATORS,
    "GET /api/inspect/cameras/x": OPERATORS,
    "POST /api/override": OPERATORS,
    "DELETE /api/override": OPERATORS,
    "GET /api/system/support-bundle": {"admin"},
    "GET HEAD /ui/": PEOPLE,
    **{f"GET /ui/{language}": PEOPLE for language in LANGUAGES[1:]},
    "GET /ui/config": PEOPLE,
    "GET /ui/theme.css": PEOPLE,
    "GET /ui/assets/x": PEOPLE,
    "GET /ui/static/x": PEOPLE,
    "GET /ui/svelte/x": PEOPLE,
    "GET /ui/gradio_api/heartbeat/x": PEOPLE,
    "GET /ui/gradio_api/queue/data": PEOPLE,
    "POST /ui/gradio_api/queue/join": PEOPLE,
}
"""Who is let through to each; `filled` writes x for what a path leaves open."""

DENIED = """
GET /ui/config/ /ui/favicon.ico /ui/logout /ui/manifest.json /ui/player.js /ui/pwa_icon
GET /ui/pwa_icon/x /ui/robots.txt /ui/monitoring /ui/monitoring/summary /ui/monitoring/x
GET /ui/gradio_api/app_id /ui/gradio_api/app_id/ /ui/gradio_api/call/v2/x/x
GET /ui/gradio_api/call/x/x /ui/gradio_api/custom_component/x/x/x/x /ui/gradio_api/deep_link
GET /ui/gradio_api/dev/reload /ui/gradio_api/file/x /ui/gradio_api/file=x /ui/gradio_api/info
GET /ui/gradio_api/info/ /ui/gradio_api/login_check /ui/gradio_api/login_check/
GET /ui/gradio_api/openapi.json /ui/gradio_api/proxy=x /ui/gradio_api/queue/status
GET /ui/gradio_api/runs /ui/gradio_api/runs/ /ui/gradio_api/startup-events
GET /ui/gradio_api/stream/x/x/x/playlist-file /ui/gradio_api/stream/x/x/x/playlist.m3u8
GET /ui/gradio_api/stream/x/x/x/x.x /ui/gradio_api/theme.css /ui/gradio_api/token
GET /ui/gradio_api/token/ /ui/gradio_api/upload_progress /ui/gradio_api/user
GET /ui/gradio_api/user/ /ui/gradio_api/vibe-code /ui/gradio_api/vibe-code/
HEAD /ui/gradio_api/file=x /ui/gradio_api/proxy=x
POST /ui/login /ui/login/ /ui/gradio_api/api/x /ui/gradio_api/api/x/ /ui/gradio_api/call/v2/x
POST /ui/gradio_api/call/v2/x/ /ui/gradio_api/call/x /ui/gradio_api/call/x/
POST /ui/gradio_api/cancel /ui/gradio_api/component_server /ui/gradio_api/component_server/
POST /ui/gradio_api/process_recording /ui/gradio_api/reset /ui/gradio_api/reset/
POST /ui/gradio_api/run/x /ui/gradio_api/run/x/ /ui/gradio_api/stream/x
POST /ui/gradio_api/stream/x/close /ui/gradio_api/undo-vibe-edit
POST /ui/gradio_api/undo-vibe-edit/ /ui/gradio_api/upload /ui/gradio_api/vibe-code
POST /ui/gradio_api/vibe-code/ /ui/gradio_api/vibe-edit /ui/gradio_api/vibe-edit/
POST /ui/gradio_api/vibe-starter-queries /ui/gradio_api/vibe-starter-queries/
"""
"""Routes of Gradio that nobody gets to; the page works without them."""


def denied():
    for language in LANGUAGES[1:]:
        yield "GET", f"/ui/{language}/"
    for line in DENIED.split("\n"):
        method, *paths = line.split() or [""]
        for path in paths:
            yield method, path


def granted():
    for key, callers in MAP.items():
        *methods, path = key.split()
        for method in methods:
            yield (method, path), callers


@pytest.fixture(scope="module")
def web():
    tokens = (METRICS_KEPT, PICTURES_KEPT, READY_KEPT, OVER_KEPT)
    return whole_web(policy={"bearers": bearers(simple=TOKEN, tokens=tokens)})


@pytest.fixture(scope="module")
def callers(web):
    """The headers by which each is known."""
    cookies = {role.value: {"cookie": web.cookie(role)} for role in Role}
    web.clock.advance(1)
    stale = web.cookie(Role.ADMIN)
    web.parts.sessions.close(stale.partition("=")[2])
    made = (METRICS, PICTURES, READY, OVER, TOKEN)
    texts = dict(zip(("metrics", "pictures", "ready", "over", "simple"), made, strict=True))
    bearing = {name: {"authorization": f"Bearer {text}"} for name, text in texts.items()}
    return {"nobody": {}, "expired": {"cookie": stale}, **cookies, **bearing}


def gets_through(web, method, path, headers):
    """Whether a request reaches what lies behind the gate, which here only notes it."""
    reached, page = [], token_hex(5)  # a page of the caller's own

    async def behind(scope, _receive, send):
        reached.append(scope["path"])
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        kind = "websocket.connect" if method == "WEBSOCKET" else "http.request"
        return {"type": kind, "body": f'{{"session_hash": "{page}"}}'.encode()}

    async def send(_message):
        pass

    known = {"host": "127.0.0.1:8080", "origin": ORIGIN, **headers}
    scope = {
        "type": "websocket" if method == "WEBSOCKET" else "http",
        "method": method,
        "path": path.replace("heartbeat/x", f"heartbeat/{page}"),
        "query_string": f"session_hash={page}".encode(),
        "headers": [(key.encode(), value.encode()) for key, value in known.items()],
    }
    real, web.app._app = web.app._app, behind
    try:
        asyncio.run(web.app(scope, receive, send))
    finally:
        web.app._app = real
    return bool(reached)


def test_every_route_is_on_the_map(web):
    """A new one, of ours or of Gradio's, must be given to somebody or denied."""
    known = {*dict(granted()), *denied()}
    found = set(every_endpoint(web))
    assert found - known == set()
    assert known - found == set()


def test_each_route_lets_through_whom_the_map_names_and_nobody_else(web, callers):
    """Nobody, an expired session, each role, and each kind of token, at every route."""
    expected = {**{each: set() for each in denied()}, **dict(granted())}
    for (method, path), who in expected.items():
        through = {
            name for name, headers in callers.items() if gets_through(web, method, path, headers)
        }
        assert through == who, f"{method} {path}"


def test_a_session_that_ran_out_counts_as_none(web, callers):
    """The same as one that was ended."""
    cookie = {"cookie": web.cookie(Role.ADMIN)}
    assert gets_through(web, "GET", "/player", cookie)
    web.clock.advance(IDLE_S + 1)
    assert not gets_through(web, "GET", "/player", cookie)
    assert callers["expired"] != {}
