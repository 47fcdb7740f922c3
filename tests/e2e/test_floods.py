"""Floods of the real process: health answers, memory stays, and an admin elsewhere gets in."""

import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from tests.support.floods import KINDS, NAME_HEADER, PROXY, SESSIONS
from tests.support.people import encoded, upright
from tests.support.process import PASSWORD, USERS, password_hash, seeing

pytestmark = pytest.mark.slow

ADMIN, WATCHER = "127.0.0.2", "127.0.0.4"  # addresses from which nobody floods
SHORTEST_S = 1.5
# For the admin: passwords are checked at low priority, which other tests beside this one outdo.
PATIENCE_S = 90.0
HEALTH_S = 5.0
GROWTH_MB = 250  # two passwords that are checked take 134
PEOPLE = {**USERS, "otto": "operator"}
# Of what makes a flood one, so much must have come through to the station.
LEAST = {
    "sign_ins": 10,
    "vouched_sign_ins": SESSIONS,
    "guesses": 100,
    "guesses_at_anybody": 100,
    "pages": 20,
    "inspections": 10,
    "joins": 100,
    "seats": 8,  # ended ones
    "half_open_heads": 30,
    "junk": 510,
}


@pytest.fixture(scope="module")
def station(tmp_path_factory):
    users = "\n".join(f"{name}:{role}:{password_hash()}" for name, role in PEOPLE.items())
    with seeing(
        tmp_path_factory.mktemp("station"),
        APPLIANCE_AUTH__USERS=users,
        APPLIANCE_WEB__TRUSTED_PROXIES=PROXY,
        APPLIANCE_AUTH__PROXY_HEADER=NAME_HEADER,
    ) as process:
        yield process


def caller(station, address):
    """Requests from an address, each by a connection of its own, as people come."""
    line = httpx.HTTPTransport(local_address=address)
    headers = {"Origin": station.origin, "Connection": "close"}
    return httpx.Client(base_url=station.url, transport=line, headers=headers, timeout=PATIENCE_S)


@dataclass
class Seen:
    """What a watcher saw meanwhile."""

    health_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@contextmanager
def watching(station):
    """Asks for health and memory, over and over, until the block ends."""
    seen, over, process = Seen(), threading.Event(), psutil.Process(station.child.pid)

    def look(client):
        began_s = time.monotonic()
        try:
            status = client.get("/api/health").status_code
        except httpx.TransportError as error:
            status = repr(error)
        seen.health_s.append(time.monotonic() - began_s)
        seen.rss_mb.append(process.memory_info().rss / 1e6)
        if status != 200:
            seen.wrong.append(str(status))

    def run():
        with caller(station, WATCHER) as client:
            while not over.wait(0.05):
                look(client)

    watcher = threading.Thread(target=run)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


@contextmanager
def flooding(station, kind):
    """A flood that goes on until the block ends; what came of it is put into what is given."""
    came = {}
    command = [sys.executable, "-m", "tests.support.floods", kind, station.url, PASSWORD]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as child:
        assert child.stdout.readline() == "begun\n"
        yield came
        told, _ = child.communicate(timeout=PATIENCE_S)
    came.update(json.loads(told))


def signed_in(client):
    """The admin's Cookie header, however often they are told to come again."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        answer = client.post("/login", data={"user": "ada", "password": PASSWORD})
        client.cookies.clear()
        if answer.status_code == 303:
            return answer.headers["set-cookie"].partition(";")[0]
        assert answer.status_code in {429, 503}
        time.sleep(0.5)
    raise AssertionError(f"the admin does not get in: {answer.status_code}")


def sees_a_picture(station, cookie):
    """Whether the live view brings one to the admin."""
    place = station.url.replace("http", "ws") + "/live"
    options = {"additional_headers": {"Cookie": cookie}, "source_address": (ADMIN, 0)}
    with connect(place, origin=station.origin, max_size=None, **options) as view:
        view.send(json.dumps({"watch": ["gate"]}))
        while isinstance(view.recv(PATIENCE_S), str):
            pass
    return True


def inspected(station, cookie):
    """Whether the admin's own picture is looked at; others may come before it."""
    asked = "/api/inspect?model=bright-spots&confidence=0.5"
    data = encoded(upright(), "PNG")
    with caller(station, ADMIN) as client:
        return client.post(asked, content=data, headers={"Cookie": cookie}).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_keeps_nobody_else_out(station, kind, tell):
    """While it goes on an admin signs in, gets the page and a picture, and has one looked at.

    And stays signed in where they were before.
    """
    with caller(station, ADMIN) as admin:
        before = signed_in(admin)
        with watching(station) as calm:
            time.sleep(0.5)
        with flooding(station, kind) as came, watching(station) as seen:
            began_s = time.monotonic()
            cookie = signed_in(admin)
            entered_s = time.monotonic() - began_s
            assert admin.get("/ui/", headers={"Cookie": cookie}).status_code == 200
            assert sees_a_picture(station, cookie)
            shown_s = time.monotonic() - began_s
            assert inspected(station, cookie)
            time.sleep(max(0.0, began_s + SHORTEST_S - time.monotonic()))
        assert admin.get("/player", headers={"Cookie": before}).status_code == 200
    grown_mb = max(seen.rss_mb) - max(calm.rss_mb)
    tell(
        f"{kind}: health {median(seen.health_s) * 1000:.0f} ms, at most "
        f"{max(seen.health_s) * 1000:.0f} (calm {median(calm.health_s) * 1000:.0f}); admin in "
        f"after {entered_s:.1f} s, picture after {shown_s:.1f} s; memory +{grown_mb:.0f} MB; {came}"
    )
    assert sum(came.values()) >= LEAST[kind], came
    assert seen.wrong == []
    assert max(seen.health_s) < HEALTH_S
    assert grown_mb < GROWTH_MB
    assert station.ready().status_code == 200
