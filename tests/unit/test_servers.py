"""Signals while the station starts, in a real process's main thread."""

import asyncio
import os
import signal
import socket
import sys

import pytest

from appliance.app.servers import Server, configuration


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
