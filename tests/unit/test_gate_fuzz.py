"""The gate against any request at all: who is not meant to get in does not, and nothing breaks it.

Behind it stands an application that only notes that it was reached. Requests are made as a server
hands them over: the path decoded once, header names in lower case, everything else as it came.
"""

import asyncio
import re
import socket
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote

import pytest
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from appliance.settings import Role
from appliance.settings.tokens import TokenScope
from appliance.web.access import routes
from appliance.web.access.bodies import PageParts
from appliance.web.access.gate import Gate
from appliance.web.access.policy import GatePolicy
from appliance.web.access.routes import Audience
from appliance.web.tab import every_rule
from tests.support.fakes import Clock, wait_until
from tests.support.web import LANGUAGES, bearers, make_sessions

TOKEN = "a-token-of-the-tests"
HOST = "127.0.0.1:8080"
ORIGIN = f"http://{HOST}"
RANK = [Role.VIEWER, Role.OPERATOR, Role.ADMIN]
CALLERS = [None, "expired", "token", *RANK]
RULES = every_rule()
KNOWN_PATHS = [
    "/",
    "/login",
    "/logout",
    "/player",
    "/live",
    "/metrics",
    "/api/health",
    "/api/ready",
    "/static/public/tokens.css",
    "/static/player.js",
    "/ui/",
    "/ui/config",
    "/ui/assets/a/b.js",
    "/ui/gradio_api/queue/join",
    "/ui/gradio_api/queue/data",
    "/ui/gradio_api/upload",
    "/ui/gradio_api/file=/etc/passwd",
]
TRICKS = [
    "%2f", "%2F", "%252f", "%5c", "\\", "//", "/./", "/../", "..", "%2e%2e", "%252e%252e/", "%00",
    "\x00", "%0a", "\n", "\r\n", "%0d%0aset-cookie:x", ";", ";x=1", "?", "#", "%", "%zz", "%c0%ae",
    "%ff", "é", "／", "․․", "ﬀ", "\u2028", " ", "+", "~", ".json", "/", "A", "x" * 2000,
]  # fmt: skip
A_PAGE = b'{"session_hash": "x"}'
PATIENT = settings(suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Reached:
    """The application behind the gate, which reads the whole body and answers.

    Attributes:
        scopes: of the requests that came through.
        bodies: what it got of each, as far as it came.
        whole: whether it got each to its end.
        tolerant: it answers 500 to whatever goes wrong while it reads, as frameworks do.
    """

    tolerant: bool = False
    scopes: list = field(default_factory=list)
    bodies: list = field(default_factory=list)
    whole: list = field(default_factory=list)

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        self.bodies.append(b"")
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        status = 200
        try:
            while True:
                message = await receive()
                self.bodies[-1] += message.get("body", b"")
                if not message.get("more_body"):
                    break
            self.whole.append(True)
        except Exception:
            if not self.tolerant:
                raise
            status = 500
        headers = [(b"content-type", b"text/html"), (b"content-length", b"15")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"<script></head>"})


def find(path, method):
    """The rule among all that there are."""
    return routes.find(path, method, RULES)


class House:
    """A gate with the application behind it, and a session of each role."""

    def __init__(self, *, base="", tolerant=False):
        clock = Clock()
        sessions = make_sessions(clock)
        self.policy = GatePolicy(
            base_path=base, hosts=(), https=False, bearers=bearers(simple=TOKEN)
        )
        expired = sessions.open("eve", Role.ADMIN)
        clock.advance(601)
        self.cookies = {role: sessions.open("ada", role) for role in RANK}
        self.cookies["expired"] = expired
        self.reached = Reached(tolerant)
        self.gate = Gate(
            self.reached,
            self.policy,
            sessions,
            languages=LANGUAGES,
            page_parts=lambda _texts: PageParts("<link>", "<header>", "<iframe>"),
            rules=RULES,
        )

    def headers_of(self, caller):
        """What this caller sends to be known."""
        if caller == "token":
            return [(b"authorization", b"Bearer " + TOKEN.encode())]
        if caller is None:
            return []
        name = self.policy.cookie_name({"headers": [(b"host", HOST.encode())]})
        return [(b"cookie", f"{name}={self.cookies[caller]}".encode())]

    def call(self, scope, messages=()):
        """What the gate sends in answer; an exception of its own fails the test."""
        sent = []
        waiting = list(messages)

        async def receive():
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        asyncio.run(self.gate(scope, receive, send))
        return sent


def request(method, raw_path, headers):
    """An HTTP scope as uvicorn makes it of a request line."""
    raw = raw_path.partition("?")[0]
    return {
        "type": "http",
        "method": method,
        "path": unquote(raw),
        "raw_path": raw.encode("utf-8", "replace"),
        "query_string": b"",
        "headers": headers,
    }


def body_of(chunks):
    """The body's messages, the last of which says so."""
    parts = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    return [*parts, {"type": "http.request", "body": b"", "more_body": False}]


def may(caller, rule):
    """Whether this caller belongs to the audience of a rule: the oracle, apart from the gate."""
    if rule is None:
        return False
    if rule.audience in {Audience.ANYBODY, Audience.STRANGER}:
        return True
    if isinstance(rule.audience, TokenScope):
        return caller == "token"
    return caller in RANK and RANK.index(caller) >= RANK.index(rule.audience)


paths = st.one_of(
    st.sampled_from(KNOWN_PATHS),
    st.builds(
        lambda path, at, trick: path[: at % (len(path) + 1)] + trick + path[at % (len(path) + 1) :],
        st.sampled_from(KNOWN_PATHS),
        st.integers(0, 60),
        st.sampled_from(TRICKS),
    ),
    st.lists(st.sampled_from([*KNOWN_PATHS, *TRICKS]), max_size=4).map("".join),
    st.text(max_size=40).map(lambda text: "/" + text),
    st.text(max_size=5),
)
methods = st.one_of(
    st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "TRACE", "CONNECT", "get"]),
    st.sampled_from(["WEBSOCKET", "", "G\x00T"]),
    st.text(max_size=6),
)
values = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"",
            HOST.encode(),
            ORIGIN.encode(),
            b"http://[",
            b"http://[::1",
            b"http://[not-an-address]",
            b"http://127.0.0.1:8080:99999",
            "http://ｅvil".encode(),
            b"http://\xe2\x84\x80",
            b"http://a\xbdb",
            b"null",
            b"Bearer",
            b"Bearer \xff\xfe",
            b"Basic " + TOKEN.encode(),
            b"appliance=\xff; =; ;;",
            b"127.0.0.1:8080:1",
            b"[::ffff:127.0.0.1]",
            b"[fe80::1%eth0]",
            b"x" * 4000,
        ]
    ),
)
names = st.sampled_from(
    [b"host", b"origin", b"cookie", b"authorization", b"accept", b"content-length", b"x", b""]
)
noise = st.lists(st.tuples(names, values), max_size=3)


@settings(PATIENT, max_examples=400)
@given(
    base=st.sampled_from(["", "/cam"]),
    path=paths,
    method=methods,
    caller=st.sampled_from(CALLERS),
    own=st.booleans(),
    extra=noise,
)
@example(
    base="",
    path="/login",
    method="POST",
    caller=None,
    own=False,
    extra=[(b"origin", b"http://[")],
)
def test_nobody_gets_past_who_is_not_meant_to(base, path, method, caller, own, extra):
    """Reached only by a rule's audience; all else is an answer of the gate, and never an error."""
    house = House(base=base)
    known = [(b"host", HOST.encode()), (b"origin", ORIGIN.encode()), *house.headers_of(caller)]
    scope = request(method, base + path, [*(known if own else known[:1]), *extra])
    # The gate is given a copy: what it notes in the scope must not help the oracle.
    sent = house.call(dict(scope), body_of([]))
    rule = find(scope["path"].removeprefix(base), method)
    assert sent[0]["type"] == "http.response.start"
    assert sent[0]["status"] < 500
    names_of_headers = {name for name, _ in sent[0]["headers"]}
    assert {b"content-security-policy", b"cache-control"} <= names_of_headers
    assert all(b"\n" not in value and b"\r" not in value for _, value in sent[0]["headers"])
    if house.reached.scopes:
        assert may(caller if own else None, rule)
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        assert method in {"GET", "HEAD"} or origins == [ORIGIN.encode()]
    else:
        assert sent[0]["status"] in {303, 307, 400, 401, 403, 404, 413, 421}
        assert b"<script" not in sent[1]["body"]


@settings(PATIENT, max_examples=150)
@given(
    base=st.sampled_from(["", "/cam"]),
    path=paths,
    method=methods,
    caller=st.sampled_from(CALLERS),
)
def test_whoever_is_meant_to_gets_in(base, path, method, caller):
    """An honest request passes exactly where there is a rule for it and its caller.

    What needs a code in a path has no rule, and what needs none is not served by one.
    """
    house = House(base=base)
    headers = [(b"host", HOST.encode()), (b"origin", ORIGIN.encode()), *house.headers_of(caller)]
    scope = request(method, base + path, headers)
    is_served = scope["path"].startswith(f"{base}/") and "%" not in path
    rule = find(scope["path"].removeprefix(base), method) if is_served else None
    scope["query_string"] = b"session_hash=x"
    house.call(scope, body_of([A_PAGE] if rule is not None and rule.body_limit else []))
    assert bool(house.reached.scopes) == may(caller, rule)


@pytest.mark.parametrize("caller", CALLERS)
def test_the_fuzz_is_not_vacuous(caller):
    """Each caller reaches some of the known paths, and none reaches all of them."""
    got_in = 0
    for path in KNOWN_PATHS:
        house = House()
        headers = [(b"host", HOST.encode()), *house.headers_of(caller)]
        house.call(request("GET", path, headers), body_of([]))
        got_in += bool(house.reached.scopes)
    assert 2 < got_in < len(KNOWN_PATHS)


@settings(PATIENT, max_examples=300)
@given(
    path=paths,
    caller=st.sampled_from(CALLERS),
    own=st.booleans(),
    extra=noise,
)
@example(path="/live", caller=Role.VIEWER, own=True, extra=[])
@example(path="/live", caller=Role.VIEWER, own=False, extra=[(b"origin", b"http://[")])
def test_a_websocket_gets_past_with_session_and_origin_only(path, caller, own, extra):
    """Everything else is closed with a reason, and never an error."""
    house = House()
    known = [(b"host", HOST.encode()), (b"origin", ORIGIN.encode()), *house.headers_of(caller)]
    headers = [*(known if own else known[:1]), *extra]
    scope = request("GET", path, headers)
    del scope["method"]
    scope["type"] = "websocket"
    sent = house.call(dict(scope), [{"type": "websocket.connect"}])
    if house.reached.scopes:
        assert own
        assert may(caller, find(scope["path"], "WEBSOCKET"))
    else:
        assert sent[-1]["type"] == "websocket.close"
        assert sent[-1]["code"] in {1008, 4401}
    if own and not extra:
        assert bool(house.reached.scopes) == may(caller, find(scope["path"], "WEBSOCKET"))


@settings(PATIENT, max_examples=150)
@given(
    path=st.sampled_from(["/login", "/logout", "/ui/gradio_api/queue/join"]),
    sizes=st.lists(st.integers(0, 3000), max_size=8),
    lump=st.sampled_from([0, 0, 4095, 4096, 4097, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1]),
    declared=st.sampled_from([None, b"0", b"1", b"-1", b"99999999999", b"x"]),
    tolerant=st.booleans(),
)
def test_a_body_is_counted_as_it_comes_however_it_is_cut(path, sizes, lump, declared, tolerant):
    """Up to its cap it arrives whole; past it the application never sees the rest, and 413 is said.

    What Content-Length claims changes neither.
    """
    house = House(tolerant=tolerant)
    headers = [(b"host", HOST.encode()), (b"origin", ORIGIN.encode())]
    headers += house.headers_of(Role.VIEWER)
    if declared is not None:
        headers.append((b"content-length", declared))
    chunks = [b" " * size for size in sizes] + [A_PAGE.ljust(lump)]
    total = sum(map(len, chunks))
    limit = find(path, "POST").body_limit
    sent = house.call(request("POST", path, headers), body_of(chunks))
    assert all(len(body) <= limit for body in house.reached.bodies)
    if total <= limit:
        assert (sent[0]["status"], house.reached.whole) == (200, [True])
        assert house.reached.bodies == [b"".join(chunks)]
    else:
        assert (sent[0]["status"], house.reached.whole) == (413, [])


@settings(PATIENT, max_examples=60)
@given(path=paths, sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=3))
def test_what_takes_no_body_gets_none(path, sizes):
    """A GET with a body is no way around the caps."""
    house = House()
    headers = [(b"host", HOST.encode()), *house.headers_of(Role.ADMIN)]
    sent = house.call(request("GET", path, headers), body_of([bytes(size) for size in sizes]))
    assert b"".join(house.reached.bodies) == b""
    assert sent[0]["status"] in {303, 307, 401, 403, 404, 413}


@pytest.fixture(scope="module")
def served():
    """The same house behind the real server; gives it with its address."""
    house = House()
    config = uvicorn.Config(
        house.gate, host="127.0.0.1", port=0, lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield house, server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def spoken(address, data):
    """What the server says to these bytes until it closes the connection."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        said = b""
        while part := connection.recv(65536):
            said += part
    return said


@settings(PATIENT, max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    target=st.one_of(
        paths.map(lambda path: path.encode("utf-8", "replace")),
        st.binary(max_size=30).map(lambda tail: b"/" + tail),
        st.sampled_from([b"*", b"http://127.0.0.1/player", b"//player"]),
    ),
    method=st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"WEBSOCKET", b"get", b"G T"]),
    headers=st.lists(st.tuples(names, values.filter(lambda v: len(v) < 100)), max_size=3),
)
def test_behind_the_real_server_a_stranger_gets_nowhere_either(served, target, method, headers):
    """Whatever bytes stand on the line: an answer below 500, and only what is for strangers."""
    house, address = served
    house.reached.scopes.clear()
    lines = [method + b" " + target + b" HTTP/1.1", b"host: " + HOST.encode()]
    lines += [name + b": " + value for name, value in headers]
    said = spoken(address, b"\r\n".join([*lines, b"connection: close", b"", b""]))
    for status in re.findall(rb"HTTP/1\.1 (\d{3})", said):
        assert int(status) < 500
    for scope in house.reached.scopes:
        assert may(None, find(scope["path"], scope["method"]))


@pytest.mark.parametrize("size", [10_000, 60_000])
def test_an_overlong_line_is_refused(served, size):
    """A path of many kilobytes matches no rule."""
    house, address = served
    house.reached.scopes.clear()
    line = b"GET /" + b"x" * size + b" HTTP/1.1\r\nhost: " + HOST.encode()
    said = spoken(address, line + b"\r\nconnection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 401")
    assert house.reached.scopes == []


def test_the_real_server_lets_a_stranger_see_the_sign_in(served):
    """The same way of asking does get through where it may."""
    house, address = served
    house.reached.scopes.clear()
    said = spoken(
        address, f"GET /login HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n".encode()
    )
    assert said.startswith(b"HTTP/1.1 200")
    assert [scope["path"] for scope in house.reached.scopes] == ["/login"]
