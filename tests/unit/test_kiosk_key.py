"""The kiosk's listener without a station: who gets in, and what says so."""

import asyncio

import httpx
import pytest

from appliance.texts import Languages
from appliance.web.live.kiosk import BODY_BYTES, COOKIE, KioskKey, kiosk_application
from appliance.web.templates import Pages

KEY = "a-key-of-the-tests-with-32-letters-or-more"
COOKIE_OF_KEY = KioskKey(KEY).cookie
OWN = "http://127.0.0.1:8081"
NAMES = {"station_name": "Hall 3", "version": "0.0"}


@pytest.fixture(scope="module")
def app():
    """Everything but the live view, which needs cameras."""
    return kiosk_application(None, Pages(base="", **NAMES), Languages(), list, KioskKey(KEY))


def asked(app, path, method="GET", *, cookie="", peer="127.0.0.1", **options):
    """The answer to one request of a caller at `peer`."""

    async def ask():
        transport = httpx.ASGITransport(app, client=(peer, 40000))
        headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
        headers |= options.pop("headers", {})
        async with httpx.AsyncClient(transport=transport, base_url=OWN) as client:
            return await client.request(method, path, headers=headers, **options)

    return asyncio.run(ask())


def enter(app, key=KEY, **options):
    options.setdefault("headers", {"Origin": "null"})
    return asked(app, "/enter", "POST", data={"key": key}, **options)


@pytest.mark.parametrize("path", ["/", "/player", "/player?kiosk=1", "/static/player.js", "/x"])
def test_without_the_cookie_nothing_is_there(app, path):
    """As a proxy asks that adds no header lines, and any program of the host."""
    for cookie in ("", "x", COOKIE_OF_KEY[:-1], KEY):
        refused = asked(app, path, cookie=cookie)
        assert refused.status_code == 403
        assert "docs/kiosk.md" in refused.text
    assert asked(app, path, cookie=COOKIE_OF_KEY).status_code in {200, 303, 404}


def test_the_live_view_is_shut_as_well(app):
    """Its socket is refused before it is accepted."""

    async def shake_hands(headers):
        said = []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            said.append(message)

        scope = {
            "type": "websocket",
            "path": "/live",
            "raw_path": b"/live",
            "client": ("127.0.0.1", 40000),
            "headers": [(b"host", b"127.0.0.1:8081"), *headers],
        }
        await app(scope, receive, send)
        return said

    for headers in ([], [(b"cookie", f"{COOKIE}=x".encode())]):
        assert asyncio.run(shake_hands(headers)) == [{"type": "websocket.close", "code": 1008}]


def test_the_key_brings_a_cookie_that_scripts_do_not_see(app):
    """Sent by a page that is a file, whose origin is none; the way on is the player."""
    answer = enter(app)
    assert (answer.status_code, answer.headers["location"]) == (303, "/player?kiosk=1")
    name, *words = answer.headers["set-cookie"].lower().split("; ")
    assert name == f"{COOKIE}={COOKIE_OF_KEY}"
    assert {"httponly", "samesite=lax", "path=/"} <= set(words)
    assert KEY not in COOKIE_OF_KEY


@pytest.mark.parametrize("key", ["", "x", KEY[:-1], f"{KEY}x", "é"])
def test_a_wrong_key_brings_nothing(app, key):
    """And the screen says what is wrong."""
    refused = enter(app, key)
    assert refused.status_code == 403
    assert "key is wrong" in refused.text
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize(
    "options",
    [
        {"peer": "192.0.2.7"},
        {"headers": {"Origin": "http://elsewhere.example"}},
        {"headers": {"Origin": "null", "Host": "station.example"}},
        {"headers": {"Origin": "null", "X-Forwarded-For": "192.0.2.7"}},
    ],
    ids=["peer", "origin", "host", "proxy"],
)
def test_the_key_opens_nothing_from_elsewhere(app, options):
    """Who has got hold of it must still be on the box."""
    refused = enter(app, **options)
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers


@pytest.mark.parametrize("path", ["/player", "/static/player.js"])
def test_a_page_that_is_a_file_reads_nothing_else(app, path):
    """Its origin counts where the key is brought, and nowhere else."""
    headers = {"Origin": "null"}
    assert asked(app, path, cookie=COOKIE_OF_KEY, headers=headers).status_code == 403


def test_another_key_makes_another_cookie():
    """So a key that is changed shuts out whoever came in by the one before."""
    assert KioskKey("x" * 32).cookie != COOKIE_OF_KEY


def test_what_is_too_large_is_not_read(app):
    """Whoever sends it has no key, and may not fill the memory."""
    assert enter(app, "x" * BODY_BYTES).status_code == 413
