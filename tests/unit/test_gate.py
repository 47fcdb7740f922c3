"""The gate: everything is refused but what the rules let through."""

import asyncio
import json
import re
from secrets import token_hex

import httpx
import pytest

from appliance.settings import Role
from appliance.web.access import gate
from tests.support.routes import every_endpoint
from tests.support.web import IDLE_S, LONGEST_S, ORIGIN, TOKEN, bearers, make_web, whole_web

SAME = {"host": "127.0.0.1:8080", "origin": ORIGIN}
OPEN_TO_STRANGERS = re.compile(r"/login|/api/health|/ca\.crt|/static/public/.*")


@pytest.fixture
def web():
    return make_web()


@pytest.fixture(scope="module")
def whole():
    """The application with Gradio's page in place, as it is once the station is up."""
    return whole_web()


def is_refused(web, method, path, headers):
    if method == "WEBSOCKET":
        answers = web.connect(path, {**SAME, **headers})
        return answers[-1]["type"] == "websocket.close"
    answer = web.ask(method, path, headers={"origin": ORIGIN, **headers})
    return answer.status_code in {401, 403, 404, 421}


def test_the_walk_sees_the_whole_application(whole):
    """Our own routes, files, the WebSocket and Gradio's dozens are all on the list."""
    found = every_endpoint(whole)
    assert {("POST", "/login"), ("GET", "/metrics"), ("WEBSOCKET", "/live")} <= set(found)
    assert ("GET", "/static/player.js") in found
    assert len([path for _, path in found if path.startswith("/ui/gradio_api/")]) > 20


def stale_session(web):
    cookie = web.cookie(Role.ADMIN)
    web.clock.advance(IDLE_S + 1)
    return {"cookie": cookie}


STRANGERS = {
    "nobody": lambda _: {},
    "an expired session": stale_session,
    "a garbage cookie": lambda web: {
        "cookie": f"{web.cookie_name()}=\x01\x7f;;=; {web.cookie_name()}"
    },
    "a session twice": lambda web: {"cookie": f"{web.cookie(Role.ADMIN)}; {web.cookie_name()}=x"},
    "a wrong token": lambda _: {"authorization": f"Bearer {TOKEN}x"},
    "a token of another kind": lambda _: {"authorization": f"Basic {TOKEN}"},
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_stranger_gets_nowhere(whole, kind):
    """Every route there is refuses who is not signed in, but sign-in, its files and liveness."""
    headers = STRANGERS[kind](whole)
    closed = [e for e in every_endpoint(whole) if not OPEN_TO_STRANGERS.fullmatch(e[1])]
    assert len(closed) > 50
    assert [e for e in closed if not is_refused(whole, *e, headers)] == []


def test_the_way_in_is_open(web):
    """A stranger sees the form, its files and that the process lives."""
    for path in ("/login", "/static/public/tokens.css", "/api/health"):
        assert web.ask("GET", path).status_code == 200
        assert web.ask("HEAD", path).status_code == 200
    assert web.ask("GET", "/api/health").json() == {"status": "live"}


def test_a_viewer_gets_in(web):
    """The same routes answer with a session."""
    assert web.ask("GET", "/player", role=Role.VIEWER).status_code == 200
    assert web.ask("GET", "/static/player.js", role=Role.VIEWER).status_code == 200
    assert web.ask("GET", "/", role=Role.VIEWER).headers["location"] == "/ui/"
    cookie = web.cookie(Role.VIEWER)
    answers = web.connect("/live", {**SAME, "cookie": cookie})
    assert [answer["type"] for answer in answers] == ["websocket.accept", "websocket.send"]


def test_what_has_no_rule_is_not_there_for_an_admin_either(whole):
    """Gradio's API, files and tokens answer 404 even to an admin."""
    headers = {"cookie": whole.cookie(Role.ADMIN), "origin": ORIGIN}
    for path in ("info", "api/x", "call/x", "run/x", "upload", "token", "startup-events"):
        for method in ("GET", "POST"):
            answer = whole.ask(method, f"/ui/gradio_api/{path}", headers=headers)
            assert answer.status_code == 404


def test_a_browser_is_led_to_the_sign_in_and_a_program_is_told(web):
    """Who asks for HTML is redirected, others get a plain 401."""
    page = web.ask("GET", "/ui/", headers={"accept": "text/html,*/*"})
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert web.ask("GET", "/ui/config").status_code == 401
    assert web.ask("POST", "/logout", headers={"accept": "text/html"}).status_code == 401


@pytest.mark.parametrize("path", ["/metrics", "/api/ready"])
def test_the_token_opens_what_is_for_machines(web, path):
    """Metrics and readiness take the bearer token, and no session instead of it."""
    assert web.ask("GET", path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert web.ask("GET", path, headers={"authorization": f"bearer  {TOKEN} "}).status_code == 200
    assert web.ask("GET", path, role=Role.ADMIN).status_code == 401
    assert web.ask("GET", path, headers={"authorization": "Bearer ü".encode()}).status_code == 401


def test_the_token_opens_no_page(web):
    """Who has the machines' token has no session."""
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert web.ask("GET", "/player", headers=bearer).status_code == 401


@pytest.mark.parametrize("token", ["", "None", TOKEN])
def test_without_a_token_machines_are_refused(token):
    """A station without a metrics token gives its metrics to nobody."""
    web = make_web(policy={"bearers": bearers(simple=None)})
    answer = web.ask("GET", "/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1",
        "192.0.2.7:8080",
        "[::1]",
        "[fe80::1]:8080",
        "hall3.example",
        "Hall3.Example:443",
        "localhost.",
        "hall3.example.:8080",
    ],
)
def test_our_own_names_are_served(host):
    """Addresses, localhost and the names of the settings, with a port or a dot at the end."""
    web = make_web(policy={"hosts": ("hall3.example",)})
    assert web.ask("GET", "/login", headers={"host": host}).status_code == 200


FOREIGN_HOSTS = [
    "",
    "evil.example",
    "hall3.example.evil.example",
    "127.0.0.1.evil.example",
    "user@evil.example",
    "hall3.example@evil.example",
    "[::1",
    "[::1]evil.example",
    "[not-an-address]",
    "2130706433",
    "0x7f.1",
    "a b",
    "evil.example:80:80",
    "localhost:x",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_foreign_names_are_not_served(host):
    """A page elsewhere that points its own name at this box gets nothing (DNS rebinding)."""
    web = make_web(policy={"hosts": ("hall3.example",)})
    answer = web.ask("GET", "/login", headers={"host": host})
    assert answer.status_code == 421
    assert "APPLIANCE_WEB__HOSTS" in answer.text
    cookie = web.cookie(Role.ADMIN)
    answers = web.connect("/live", {"host": host, "origin": f"http://{host}", "cookie": cookie})
    assert answers == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_health_answers_whatever_the_host(web, host):
    """Balancers call by an address, a service's name or none at all, and bring what they bring."""
    headers = {"host": host, "cookie": web.cookie(Role.VIEWER), "authorization": "Bearer x"}
    for method in ("GET", "HEAD"):
        assert web.ask(method, "/api/health", headers=headers).status_code == 200
    for path in ("/api/ready", "/metrics", "/api/health/x", "/api/health."):
        assert web.ask("GET", path, headers={"host": host}).status_code == 421
    assert web.ask("POST", "/api/health", headers={"host": host}).status_code == 421


def test_two_host_headers_are_none(web):
    """Two readers could see two hosts, so a request with both is refused."""
    headers = [("host", "127.0.0.1"), ("host", "evil.example")]
    assert web.ask("GET", "/login", headers=headers).status_code == 421


FOREIGN_ORIGINS = [
    None,
    "",
    "null",
    "http://evil.example",
    "http://127.0.0.1:8081",
    "http://127.0.0.1",
    "http://127.0.0.1:8080.evil.example",
    "http://127.0.0.1:8080@evil.example",
    "ftp://127.0.0.1:8080",
    "//127.0.0.1:8080",
    "127.0.0.1:8080",
]


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_what_changes_something_must_come_from_our_own_page(web, origin):
    """A form or a WebSocket on another page does nothing here, with any cookie."""
    headers = {} if origin is None else {"origin": origin}
    with_cookie = {**headers, "cookie": web.cookie(Role.ADMIN)}
    assert web.ask("POST", "/logout", headers=with_cookie).status_code == 403
    assert web.ask("POST", "/login", headers=headers).status_code == 403
    socket = {"host": "127.0.0.1:8080", **with_cookie}
    assert web.connect("/live", socket) == [{"type": "websocket.close", "code": 1008}]


def test_a_live_view_without_a_session_is_told_why(web):
    """The page learns from the close code that it must sign in; reading does not help it on."""
    for headers in (SAME, {**SAME, **stale_session(web)}):
        answers = web.connect("/live", headers)
        assert [answer["type"] for answer in answers] == ["websocket.accept", "websocket.close"]
        assert answers[-1]["code"] == 4401


def test_a_body_over_the_cap_is_refused_as_it_comes(web):
    """Without Content-Length, what really arrives is counted; no handler sees it whole."""

    async def parts():
        for _ in range(100):
            yield b"user=" + b"x" * 1000

    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = web.post("/login", headers=form, content=parts())
    assert "content-length" not in answer.request.headers
    assert answer.status_code == 413
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("size", [4097, 1_000_000])
def test_a_body_that_is_declared_too_large_is_refused(web, size):
    """The same with Content-Length."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert web.post("/login", headers=form, content=b"x" * size).status_code == 413


def half_a_sign_in(web, then, address="10.0.0.1"):
    """What is answered to a form whose second half never comes; `then` gets the task."""
    sent, came = [], iter([{"type": "http.request", "body": b"user=a", "more_body": True}])

    async def receive():
        for message in came:
            return message
        return await then.get()

    async def send(message):
        sent.append(message)

    headers = {"host": "127.0.0.1", "origin": "http://127.0.0.1", "content-length": "40"}
    headers["content-type"] = "application/x-www-form-urlencoded"
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/login",
        "query_string": b"",
        "client": (address, 1234),
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
    }
    return asyncio.create_task(web.app(scope, receive, send)), sent


def test_who_leaves_within_a_request_is_no_fault(web):
    """A stranger could fill the log with the server's tracebacks by it."""

    async def leave():
        then = asyncio.Queue()
        task, _ = half_a_sign_in(web, then)
        await then.put({"type": "http.disconnect"})
        await task
        return task.exception()

    assert asyncio.run(leave()) is None


def test_a_request_that_the_ending_server_gives_up_is_told_so(web):
    """The server cancels what it has waited for long enough: an answer, and no traceback."""

    async def end():
        task, sent = half_a_sign_in(web, asyncio.Queue())
        await asyncio.sleep(0)
        task.cancel()
        await task
        return sent

    start, body = asyncio.run(end())
    assert start["status"] == 503
    assert body["body"] == b"The station ends."


def test_gradios_events_have_their_own_cap(whole):
    """An event of the page may be larger than a form, and not much."""
    answer = whole.post(
        "/ui/gradio_api/queue/join",
        role=Role.VIEWER,
        headers={"content-type": "application/json"},
        content=b'{"x":"' + b"x" * 300_000 + b'"}',
    )
    assert answer.status_code == 413


def test_cookies_of_other_programs_do_no_harm(web):
    """What something else on this host has set, however odd, locks nobody out."""
    cookie = f'junk={{"a":[1,2]}}; theme="; {web.cookie(Role.VIEWER)}; x=é'
    answer = web.ask("GET", "/player", headers={"cookie": cookie.encode()})
    assert answer.status_code == 200


def test_a_person_at_work_stays_signed_in_and_a_page_left_alone_does_not(web):
    """Opening a page counts as use; Gradio's own refreshes do not."""
    cookie = {"cookie": web.cookie(Role.VIEWER), "origin": ORIGIN}
    for _ in range(3):
        web.clock.advance(IDLE_S - 1)
        assert web.ask("GET", "/player", headers=cookie).status_code == 200
    for _ in range(10):
        web.clock.advance(IDLE_S / 10)
        web.ask("POST", "/ui/gradio_api/queue/join", headers=cookie)
        web.ask("GET", "/ui/gradio_api/queue/data", headers=cookie)
        web.ask("GET", "/ui/gradio_api/heartbeat/abc", headers=cookie)
    assert web.ask("GET", "/player", headers=cookie).status_code == 401


def test_the_longest_time_ends_a_busy_session_too(web):
    """No use carries a session past its limit."""
    cookie = {"cookie": web.cookie(Role.VIEWER)}
    for _ in range(int(LONGEST_S / 300) - 1):
        web.clock.advance(300)
        assert web.ask("GET", "/player", headers=cookie).status_code == 200
    web.clock.advance(300)
    assert web.ask("GET", "/player", headers=cookie).status_code == 401


def test_below_a_base_path_everything_works(web):
    """Page, files, live view and redirects stay under the public prefix (O-17)."""
    web = make_web(policy={"base_path": "/cam"})
    assert web.ask("GET", "/cam/login").status_code == 200
    assert web.ask("GET", "/cam/static/public/tokens.css").status_code == 200
    assert web.ask("GET", "/cam/", role=Role.VIEWER).headers["location"] == "/cam/ui/"
    assert web.ask("GET", "/cam/player", role=Role.VIEWER).status_code == 200
    html = {"accept": "text/html"}
    assert web.ask("GET", "/cam/ui/", headers=html).headers["location"] == "/cam/login"
    answers = web.connect("/cam/live", {**SAME, "cookie": web.cookie(Role.VIEWER)})
    assert answers[-1]["type"] == "websocket.send"


@pytest.mark.parametrize(
    "path", ["/login", "/", "/camera", "/camera/login", "/api/health", "/static/public/tokens.css"]
)
def test_outside_the_base_path_there_is_nothing(path):
    """What a proxy does not hand on to us is not answered by accident."""
    web = make_web(policy={"base_path": "/cam"})
    assert web.ask("GET", path).status_code == 401
    assert web.ask("GET", path, role=Role.ADMIN).status_code == 404
    answers = web.connect("/live", {**SAME, "cookie": web.cookie(Role.ADMIN)})
    assert answers == [{"type": "websocket.close", "code": 1008}]


def test_the_base_path_without_its_slash_leads_to_the_page():
    """As people type it; still for our own names only, and not for what changes something."""
    web = make_web(policy={"base_path": "/cam"})
    for role in (None, Role.VIEWER):
        answer = web.ask("GET", "/cam", role=role)
        assert (answer.status_code, answer.headers["location"]) == (307, "/cam/")
    assert web.ask("GET", "/cam", headers={"host": "evil.example"}).status_code == 421
    assert web.post("/cam").status_code == 401


@pytest.mark.parametrize(
    "raw",
    [
        "/static/public/%2e%2e/player.js",
        "/static/public/..%2fplayer.js",
        "/static/public%2f%2e%2e%2fplayer.js",
        "/static/public/%2e%2e%2f%2e%2e%2fpages/login.html",
        "/static/public/%252e%252e/player.js",
        "/login/%2e%2e/metrics",
        "/login%2f..%2fmetrics",
        "/login;/../metrics",
        "/api/health%00",
        "/api/health/",
        "/api/health.",
        "//api/health/../metrics",
    ],
)
def test_encoded_paths_do_not_pass_as_something_else(web, raw):
    """A path is judged as it will be understood, so no spelling slips by as a public one."""
    answer = web.ask("GET", httpx.URL(ORIGIN).copy_with(raw_path=raw.encode()))
    assert answer.status_code == 401


def respelled():
    """Paths of real routes with one letter or separator by its code, and the role they want."""
    for path in ("/api/system/support-bundle", "/ui/config", "/player"):
        for at, letter in enumerate(path[1:], 1):
            yield f"{path[:at]}%{ord(letter):02x}{path[at + 1 :]}"
    yield from ("/api%2Fsupport-bundle", "/api%5csupport-bundle", "/%70layer", "/pl%61yer")


def test_no_path_is_served_by_another_spelling(web):
    """Not even to an admin: a rule of a proxy for the plain one would miss it."""
    for raw in respelled():
        url = httpx.URL(ORIGIN).copy_with(raw_path=raw.encode())
        assert web.ask("GET", url, role=Role.ADMIN).status_code == 404, raw
        assert web.ask("GET", url).status_code == 401, raw
    based = make_web(policy={"base_path": "/cam"})
    for raw in (b"/cam%2fapi/health", b"/c%61m/api/health", b"/c%61m"):
        url = httpx.URL(ORIGIN).copy_with(raw_path=raw)
        assert based.ask("GET", url).status_code == 401


def test_with_https_a_page_without_it_is_another(web):
    """Anybody on the way may have made one that says http:// and this host."""
    secure = make_web(policy={"https": True})
    host = ORIGIN.removeprefix("http://")
    for origin, code in ((f"http://{host}", 403), (f"https://{host}", 303)):
        cookie = secure.cookie(Role.ADMIN)
        headers = {"origin": origin, "cookie": cookie}
        assert secure.ask("POST", "/logout", headers=headers).status_code == code
    seen = {"host": host, "origin": f"http://{host}", "cookie": secure.cookie(Role.ADMIN)}
    assert secure.connect("/live", seen) == [{"type": "websocket.close", "code": 1008}]
    opened = secure.connect("/live", {**seen, "origin": f"https://{host}"})
    assert opened[-1]["type"] == "websocket.send"
    # A proxy may speak HTTPS though nobody has said so.
    headers = {"origin": f"https://{host}", "cookie": web.cookie(Role.ADMIN)}
    assert web.ask("POST", "/logout", headers=headers).status_code == 303


class Endless:
    """Stands behind the gate: each answer begins at once, and ends when the caller has gone."""

    def __init__(self):
        self.open = 0

    async def __call__(self, _scope, _receive, send):
        self.open += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                await asyncio.sleep(0.01)
        finally:
            self.open -= 1


def listening(web, cookie, sent):
    """A task that listens to Gradio's events; `sent` gets what it is told."""

    async def receive():
        await asyncio.sleep(3600)

    async def send(message):
        sent.append(message)

    headers = {"host": "127.0.0.1:8080", "cookie": cookie}
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/ui/gradio_api/queue/data",
        "query_string": f"session_hash={token_hex(5)}".encode(),
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
    }
    return asyncio.create_task(web.app(scope, receive, send))


@pytest.mark.parametrize("end", ["sign-out", "idle", "revoked"])
def test_an_endless_answer_ends_with_its_session(web, end):
    """In order, with its last part sent: signed out, run out or ended by an admin."""
    web.app._app = behind = Endless()
    cookie = web.cookie(Role.VIEWER)

    async def live():
        sent = []
        task = listening(web, cookie, sent)
        await asyncio.sleep(0.1)
        assert behind.open == 1
        if end == "sign-out":
            web.parts.sessions.close(cookie.partition("=")[2])
        elif end == "idle":
            web.clock.advance(IDLE_S + 1)
        else:
            web.parts.sessions.revoke_user("vera")
        await asyncio.wait_for(task, 10)
        return sent

    sent = asyncio.run(live())
    assert behind.open == 0
    assert len(sent) > 2
    assert not sent[-1]["more_body"]


@pytest.mark.parametrize("language", ["en", "de"])
def test_gradios_script_is_told_in_json_that_nobody_is_signed_in(web, language):
    """It reads nothing else, and would show a person what it could not read."""
    headers = {"accept-language": language}
    said = {"en": "Sign in first.", "de": "Bitte zuerst anmelden."}[language]
    for method, path in (("POST", "queue/join"), ("GET", "queue/data"), ("GET", "heartbeat/x")):
        answer = web.ask(method, f"/ui/gradio_api/{path}", headers={"origin": ORIGIN, **headers})
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {"detail": said}


def test_one_person_has_a_share_of_the_server_and_no_more(web, monkeypatch):
    """Of all their sessions; more is told so; other people are not touched; room comes back."""
    monkeypatch.setattr(gate, "REQUESTS_AT_A_TIME", 3)
    web.app._app = behind = Endless()
    hers, his = web.cookie(Role.VIEWER), web.cookie(Role.OPERATOR)

    async def crowd():
        first = [listening(web, web.cookie(Role.VIEWER), []) for _ in range(3)]
        await asyncio.sleep(0.05)
        refused, other = [], []
        await listening(web, hers, refused)
        another = listening(web, his, other)
        await asyncio.sleep(0.05)
        assert behind.open == 4
        for task in (*first, another):
            task.cancel()
        await asyncio.gather(*first, another)
        again = []
        last = listening(web, hers, again)
        await asyncio.sleep(0.05)
        last.cancel()
        await last
        return refused, other, again

    refused, other, again = asyncio.run(crowd())
    assert refused[0]["status"] == 429
    assert json.loads(refused[1]["body"]) == {"detail": "Too many requests at once."}
    assert (other[0]["status"], again[0]["status"]) == (200, 200)
    assert web.app._open == {}


def test_strangers_at_one_address_have_a_share_and_no_more(web, monkeypatch):
    """Forms that come slowly hold neither the server nor anybody at another address."""
    monkeypatch.setattr(gate, "STRANGERS_AT_A_TIME", 3)
    monkeypatch.setattr(gate, "network_of", lambda address: address)

    async def crowd():
        held = [half_a_sign_in(web, asyncio.Queue(), "10.0.0.1")[0] for _ in range(3)]
        await asyncio.sleep(0)
        late, refused = half_a_sign_in(web, asyncio.Queue(), "10.0.0.1")
        await late
        other, answered = half_a_sign_in(web, asyncio.Queue(), "10.0.0.2")
        await asyncio.sleep(0)
        is_heard = not other.done() and not answered
        for task in (*held, other):
            task.cancel()
        await asyncio.gather(*held, other)
        return refused, is_heard

    refused, is_heard = asyncio.run(crowd())
    assert refused[0]["status"] == 429
    assert is_heard
    assert web.app._open == {}
