"""Where servers listen, and signals while the station starts, in a real process's main thread."""

import asyncio
import errno
import os
import signal
import socket
import sys

import pytest

from appliance.app.servers import Server, configuration, listen_on, url_of
from appliance.errors import SettingsError
from appliance.settings import Web


@pytest.fixture
def left():
    """What was told to leave, in order."""
    return []


@pytest.fixture
def server(left):
    config = configuration()
    config.app = answer
    return Server(config, leaving=lambda: left.append("views"))


async def answer(scope, receive, send):
    """An application that nobody asks."""


class Dying:
    """An object in whose end the process is told to stop; nothing that is raised there counts."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_ends_the_start_where_it_is(server, left):
    """The block is left at once and in order, and the handlers are those from before."""
    before = signal.getsignal(signal.SIGTERM)
    went_on = False
    with server.heeding_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        went_on = True
    assert (went_on, left) == (False, ["views"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_is_heeded_where_nothing_can_be_raised(server, left, monkeypatch):
    """The start goes on, and the server ends as soon as it has begun."""
    swallowed = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: swallowed.append(it.exc_value.code))
    with server.heeding_signals(), socket.create_server(("127.0.0.1", 0)) as listener:
        Dying()
        assert swallowed == [0]
        asyncio.run(asyncio.wait_for(server.serve(sockets=[listener]), 20))
    assert left == ["views"]


def hears(listener, *callers):
    """Which of these addresses a listener is reached by."""
    port, heard = listener.getsockname()[1], []
    for caller in callers:
        try:
            socket.create_connection((caller, port), timeout=5).close()
        except OSError:
            continue
        heard.append(caller)
    return heard


@pytest.mark.parametrize(
    ("host", "heard"),
    [
        ("::", ["127.0.0.1", "::1"]),
        ("0.0.0.0", ["127.0.0.1"]),  # noqa: S104 - for a moment
        ("::1", ["::1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("localhost", ["127.0.0.1"]),
    ],
)
def test_each_address_is_listened_on_and_every_one_by_both_families(host, heard):
    """`::` takes callers by IPv4 too; an address takes its own alone."""
    with listen_on("page", host, 0, hint="") as listener:
        assert hears(listener, "127.0.0.1", "::1") == heard


def test_a_host_without_ipv6_says_so(monkeypatch):
    """The kernel's own words would tell nobody what to do."""

    def refuse(*_, **__):
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(SettingsError, match="cannot listen on ::: this host has IPv6 switched off"):
        listen_on("page", "::", 8080, hint="")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::", "http://[::]:8080/cam/"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:8080/cam/"),
        ("127.0.0.1", "http://127.0.0.1:8080/cam/"),
    ],
)
def test_the_page_is_told_as_browsers_take_it(host, url):
    """With the brackets that an address of IPv6 needs."""
    assert url_of(Web(host=host, base_path="/cam")) == url
