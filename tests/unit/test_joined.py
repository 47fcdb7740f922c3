"""Whose page is it: nobody listens to what another session's page is sent."""

import json

import pytest

from appliance.settings import Role
from appliance.web.access import joined as module
from appliance.web.access.joined import Joined
from tests.support.fakes import Clock
from tests.support.web import IDLE_S, ORIGIN, make_sessions, make_web

API = "/ui/gradio_api"
MINE = "k3j2h1g0"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sessions(clock):
    return make_sessions(clock)


@pytest.fixture
def begin(sessions):
    """A new session of somebody."""
    return lambda user, role=Role.VIEWER: sessions.find(sessions.open(user, role))


def test_a_page_is_of_the_session_that_used_it_first(sessions, begin):
    """Not of another person's, nor of another one of the same person."""
    joined, ada, vic = Joined(sessions), begin("ada", Role.ADMIN), begin("vic")
    assert joined.may_use(MINE, ada)
    assert joined.may_use(MINE, ada)
    assert not joined.may_use(MINE, vic)
    assert not joined.may_use(MINE, begin("ada", Role.ADMIN))
    assert joined.may_use("another", vic)


def test_who_signs_in_anew_goes_on_with_the_page(sessions, begin, clock):
    """Once the session before is over; nobody else gets it even then."""
    joined, vic = Joined(sessions), begin("vic")
    assert joined.may_use(MINE, begin("ada"))
    clock.advance(IDLE_S + 1)
    assert not joined.may_use(MINE, vic)
    assert joined.may_use(MINE, begin("ada"))


def test_many_pages_of_one_session_make_nobody_elses_be_forgotten(sessions, begin, monkeypatch):
    """Each session has its own share."""
    monkeypatch.setattr(module, "PAGES", 3)
    joined, ada, vic = Joined(sessions), begin("ada"), begin("vic")
    joined.may_use(MINE, ada)
    for number in range(50):
        joined.may_use(f"page-{number}", vic)
    assert not joined.may_use(MINE, vic)
    assert len(joined._owners) == 1 + 3


def test_pages_of_sessions_that_are_over_are_forgotten(sessions, begin, clock):
    """Memory follows the sessions that run."""
    joined = Joined(sessions)
    for number in range(20):
        joined.may_use(f"page-{number}", begin(f"user{number}"))
        clock.advance(IDLE_S + 1)
    assert len(joined._owners) == len(joined._pages) == 1


class Behind:
    """Stands for Gradio: notes which requests got there, and their bodies."""

    def __init__(self):
        self.bodies = []

    async def __call__(self, _scope, receive, send):
        self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def web():
    made = make_web()
    made.app._app = Behind()
    return made


def join(web, cookie, content):
    headers = {"cookie": cookie, "origin": ORIGIN}
    return web.ask("POST", f"{API}/queue/join", headers=headers, content=content).status_code


def listen(web, cookie, path):
    return web.ask("GET", f"{API}/{path}", headers={"cookie": cookie}).status_code


LISTENING = [f"queue/data?session_hash={MINE}", f"heartbeat/{MINE}"]


def test_nobody_listens_to_another_sessions_page(web):
    """Neither by its events nor by its heartbeat, nor may anybody ask in its name."""
    ada, vera = web.cookie(Role.ADMIN), web.cookie(Role.VIEWER)
    body = json.dumps({"session_hash": MINE, "data": []}).encode()
    assert join(web, ada, body) == 200
    assert [listen(web, ada, path) for path in LISTENING] == [200, 200]
    before = len(web.app._app.bodies)
    assert [listen(web, vera, path) for path in LISTENING] == [403, 403]
    assert join(web, vera, body) == 403
    assert len(web.app._app.bodies) == before
    assert web.app._app.bodies[0] == body


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?session_hash=",
        "?session_hash=a&session_hash=b",
        f"?session_hash=&session_hash={MINE}",
        "?session_hash=%2e%2e",
        "?Session_hash=a",
    ],
)
def test_a_request_that_names_no_page_gets_nowhere(web, query):
    """None, several, or something that no page calls itself: two readers could differ."""
    assert listen(web, web.cookie(Role.ADMIN), f"queue/data{query}") == 403


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"{}", b'{"session_hash": 7}', b'{"session_hash": null}', b"[" * 9000],
)
def test_a_body_that_names_no_page_gets_nowhere(web, body):
    """Whatever it is, it is an answer and no error."""
    assert join(web, web.cookie(Role.ADMIN), body) == 403


def test_the_hash_that_is_judged_is_the_one_that_is_used(web):
    """Of a name that comes twice the last counts, as it does behind."""
    ada, vera = web.cookie(Role.ADMIN), web.cookie(Role.VIEWER)
    assert join(web, ada, json.dumps({"session_hash": MINE}).encode()) == 200
    twice = f'{{"session_hash": "of-vera", "session_hash": "{MINE}"}}'
    assert join(web, vera, twice.encode()) == 403
