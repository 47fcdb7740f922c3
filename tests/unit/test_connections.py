"""Connections of the real server: nobody holds one, or all of them, by sending slowly."""

import asyncio
import errno
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing

import pytest
from websockets.sync.client import connect as open_socket

from appliance.app.servers import configuration
from appliance.settings import Role
from appliance.web.access import bodies, connections
from tests.support.fakes import wait_until
from tests.support.web import make_web, serving

PATIENCE_S = 0.6
HOST = "host: 127.0.0.1\r\n"


@pytest.fixture
def web():
    return make_web()


@pytest.fixture
def address(web, monkeypatch):
    """Of a server that has little patience."""
    monkeypatch.setattr(connections, "HEAD_S", 0.6)
    monkeypatch.setattr(bodies, "BODY_S", PATIENCE_S)
    monkeypatch.setattr(connections, "CONNECTIONS", 20)
    with serving(web, configuration()) as address:
        yield address


def connect(address, source="127.0.0.1"):
    return socket.create_connection(address, timeout=10, source_address=(source, 0))


def health(address, source="127.0.0.1"):
    """What is answered to somebody who comes now."""
    with connect(address, source) as visitor:
        visitor.sendall(f"GET /api/health HTTP/1.1\r\n{HOST}connection: close\r\n\r\n".encode())
        return rest_of(visitor)


def has_gone(connection):
    """Whether the server has ended it by now."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and rest_of(connection) == b""


def rest_of(connection):
    """What still comes; nothing where the server has dropped the connection."""
    said = b""
    try:
        while part := connection.recv(65536):
            said += part
    except ConnectionResetError:
        return said
    return said


@pytest.mark.parametrize("begin", ["", "GET /login HT", f"GET /login HTTP/1.1\r\n{HOST}"])
def test_a_head_that_does_not_come_ends_the_connection(address, begin):
    """Whatever has come of it, and without an answer."""
    with connect(address) as connection:
        connection.sendall(begin.encode())
        assert rest_of(connection) == b""


def test_a_head_that_drips_ends_the_connection(address):
    """A byte now and then does not start the time anew."""
    began_s = time.monotonic()
    with connect(address) as connection:
        connection.sendall(f"GET /login HTTP/1.1\r\n{HOST}x: ".encode())
        while time.monotonic() - began_s < 10:
            try:
                connection.sendall(b"x")
            except OSError:
                return
            time.sleep(0.05)
    pytest.fail("the server has waited for ten seconds")


def test_the_second_head_of_a_connection_is_timed_as_well(address):
    """One honest request buys no patience."""
    with connect(address) as connection:
        connection.sendall(f"GET /api/health HTTP/1.1\r\n{HOST}\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /api/he")
        assert b"HTTP/1.1" not in rest_of(connection)


def test_a_body_that_does_not_come_is_answered_with_408(address):
    """A form whose second half is never sent; the sentence says what was wrong."""
    with connect(address) as connection:
        origin = f"origin: http://127.0.0.1\r\n{HOST}"
        kind = "content-type: application/x-www-form-urlencoded\r\ncontent-length: 40\r\n"
        connection.sendall(f"POST /login HTTP/1.1\r\n{origin}{kind}\r\nuser=a".encode())
        said = rest_of(connection)
    assert said.startswith(b"HTTP/1.1 408")
    assert said.endswith(b"The request came too slowly.")


def test_a_large_body_may_come_slowly_as_long_as_it_comes(address, web):
    """Three times as long as the patience for a small one; once it stops, it is answered."""
    ask = "POST /api/inspect?model=bright-spots&confidence=0.5 HTTP/1.1\r\n"
    who = f"origin: http://127.0.0.1\r\ncookie: {web.cookie(Role.OPERATOR, '127.0.0.1')}\r\n"
    head = f"{ask}{HOST}{who}content-length: 10000000\r\n\r\n"
    began_s = time.monotonic()
    with connect(address) as connection:
        connection.sendall(head.encode())
        while time.monotonic() - began_s < 3 * PATIENCE_S:
            connection.sendall(bytes(bodies.SLOWEST_BYTES_S // 5))
            time.sleep(0.1)
        said = rest_of(connection)
    assert said.startswith(b"HTTP/1.1 408")


HALF_A_FORM = (
    f"POST /login HTTP/1.1\r\norigin: http://127.0.0.1\r\n{HOST}"
    "content-type: application/x-www-form-urlencoded\r\ncontent-length: 40\r\n"
    "expect: 100-continue\r\n\r\n"
)


@pytest.fixture
def patient(monkeypatch, address):
    """The server's address, now with more patience than a test has."""
    monkeypatch.setattr(connections, "HEAD_S", 60)
    monkeypatch.setattr(bodies, "BODY_S", 60)
    return address


def test_too_many_connections_are_dropped_and_room_comes_back(patient):
    """Descriptors are left for cameras; when the crowd goes, others get in."""
    with ExitStack() as crowd:
        for _ in range(20):  # requests that are under way, which nobody can do without
            connection = crowd.enter_context(closing(connect(patient)))
            connection.sendall(HALF_A_FORM.encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        assert health(patient, "127.0.0.2") == b""
    wait_until(lambda: health(patient).startswith(b"HTTP/1.1 200"))


def test_a_crowd_of_waiting_heads_keeps_nobody_out(patient):
    """Of the address that holds most, the oldest one goes first; another address loses none."""
    with ExitStack() as crowd:
        other = crowd.enter_context(closing(connect(patient, "127.0.0.3")))
        mass = [crowd.enter_context(closing(connect(patient))) for _ in range(40)]
        for _ in range(10):
            assert health(patient, "127.0.0.2").startswith(b"HTTP/1.1 200")
        wait_until(lambda: has_gone(mass[0]))
        assert not has_gone(mass[-1])
        assert not has_gone(other)


def test_connections_that_were_answered_once_and_wait_make_room_as_well(patient):
    """Else a request now and then on each would hold them all."""
    with ExitStack() as crowd:
        for _ in range(20):
            connection = crowd.enter_context(closing(connect(patient)))
            connection.sendall(f"GET /api/health HTTP/1.1\r\n{HOST}\r\n".encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        assert health(patient, "127.0.0.2").startswith(b"HTTP/1.1 200")


def test_an_answer_is_not_held_back_for_the_receipt_of_its_head(address):
    """On a connection that is kept an answer comes as soon as on a fresh one, not 40 ms later."""

    def took_s(connection, extra=""):
        began_s = time.monotonic()
        connection.sendall(f"GET /api/health HTTP/1.1\r\n{HOST}{extra}\r\n".encode())
        said = b""
        while not said.endswith(b'"live"}'):
            said += connection.recv(65536)
        return time.monotonic() - began_s

    fresh_s = []
    for _ in range(8):
        with connect(address) as connection:
            fresh_s.append(took_s(connection, "connection: close\r\n"))
    with connect(address) as connection:
        kept_s = [took_s(connection) for _ in range(8)]
    assert min(kept_s[1:]) < 5 * min(fresh_s)


def test_a_websocket_outlives_the_patience_for_heads(address, web):
    """The connection has been taken over: what comes are messages."""
    host, port = address
    headers = {"Origin": f"http://{host}:{port}", "Cookie": web.cookie(Role.VIEWER)}
    with open_socket(f"ws://{host}:{port}/live", additional_headers=headers) as live:
        for _ in range(4):  # twice a second: well past the patience
            assert live.recv(10)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /api/health HTTP/1.0\r\n", 200),  # HAProxy's check as it is by default
        ("GET /login HTTP/1.0\r\n", 421),
        ("GET /api/health HTTP/1.1\r\nhost: station:8080\r\n", 200),
        ("GET http://127.0.0.1:8334/api/health HTTP/1.1\r\nhost: x\r\n", 200),
        ("GET HTTP://LOCALHOST/login?x=1 HTTP/1.1\r\nhost: evil.example\r\n", 200),
        ("GET http://evil.example/login HTTP/1.1\r\nhost: 127.0.0.1\r\n", 421),
        ("GET http://ada@127.0.0.1/login HTTP/1.1\r\nhost: 127.0.0.1\r\n", 421),
        ("GET http:///login HTTP/1.1\r\nhost: 127.0.0.1\r\n", 421),
        ("GET http:%2f%2f127.0.0.1/login HTTP/1.1\r\nhost: 127.0.0.1\r\n", 401),
        ("GET http://127.0.0.1 HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/html\r\n", 303),
        ("GET http://127.0.0.1//login HTTP/1.1\r\nhost: 127.0.0.1\r\n", 401),
    ],
)
def test_every_form_of_a_request_line_is_read(address, head, status):
    """Without a host, and with a whole URL, whose host counts then and no other."""
    with connect(address) as connection:
        connection.sendall(f"{head}connection: close\r\n\r\n".encode())
        assert rest_of(connection).split()[1] == str(status).encode()


@pytest.mark.parametrize(
    ("descriptors", "most"),
    [(sys.maxsize, 400), (1024, 400), (528, 400), (256, 128), (64, 16), (16, 16)],
)
def test_the_limit_of_descriptors_says_how_many_connections_there_may_be(
    monkeypatch, descriptors, most
):
    """A station keeps some for itself; somebody must be able to see what is wrong, at any limit."""
    monkeypatch.setattr(connections, "descriptors", lambda: descriptors)
    assert connections.most_connections() == most


def test_the_kiosks_connections_are_few_whatever_the_page_may_have(web):
    """Other programs of the host reach them too, and the cameras need descriptors."""
    with serving(web, configuration(connections.KioskConnection)) as address, ExitStack() as crowd:
        there = [crowd.enter_context(closing(connect(address))) for _ in range(40)]
        wait_until(lambda: sum(map(has_gone, there)) == 40 - connections.FEWEST)
        assert health(address).startswith(b"HTTP/1.1 200")


def test_the_limit_is_that_of_the_process():
    """Both of what holds now, and of what may be had."""
    script = (
        "import resource; from appliance.resources import *;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (50, 60)); print(descriptors());"
        "raise_descriptors(); print(descriptors())"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["50", "60"]


@pytest.mark.parametrize("reason", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_that_no_connection_can_be_taken_is_a_line(caplog, reason):
    """Without a traceback; other errors of the event loop keep theirs."""
    with closing(asyncio.new_event_loop()) as loop:
        connections.tell_errors_of(loop)
        error = OSError(reason, os.strerror(reason))
        loop.call_exception_handler({"message": "accept", "exception": error})
        loop.call_exception_handler({"message": "other", "exception": ValueError("of ours")})
    line, other = caplog.records
    assert line.getMessage() == f"no connection can be taken: {os.strerror(reason)}"
    assert line.name == "connections"
    assert (bool(line.exc_info), bool(other.exc_info)) == (False, True)


def test_connections_are_taken_one_by_one(web):
    """So that each is judged before the next one takes a descriptor; many may wait for it."""
    assert configuration().backlog == 1
    with serving(web, configuration()) as address, ExitStack() as running:
        for _ in range(60):
            running.enter_context(connect(address))
        assert b"200 OK" in health(address)
